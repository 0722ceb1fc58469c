/**
 * The CLI's own folder, `$XDG_CONFIG_HOME/sallyport`: the key of this machine, the servers it is signed in to, and their
 * CA certificates. Folders are 0700 and files 0600; a file is written beside its place and moved there, so a reader sees
 * the old or the new one and never half of it.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from './exit.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export function configFolder(env: Environment): string {
  const base = env['XDG_CONFIG_HOME'];
  // The XDG specification says to ignore a relative path.
  return join(base?.startsWith('/') === true ? base : join(env['HOME'] ?? homedir(), '.config'), 'sallyport');
}

/** The file's text, or undefined when there is none. */
export async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw unusable(`read \`${file}\``, error);
  }
}

/** Replaces the file's text in one step. */
export async function writeText(file: string, text: string): Promise<void> {
  await inPlace(file, text, (draft) => rename(draft, file));
}

/** Writes the file unless it is there already; answers the text that is there in the end. */
export async function writeTextOnce(file: string, text: string): Promise<string> {
  await inPlace(file, text, async (draft) => {
    try {
      await link(draft, file);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    } finally {
      await rm(draft, { force: true });
    }
  });
  return (await readText(file)) ?? text;
}

async function inPlace(file: string, text: string, move: (draft: string) => Promise<void>): Promise<void> {
  const folder = dirname(file);
  const draft = `${file}.${randomBytes(6).toString('hex')}.new`;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const handle = await open(draft, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await move(draft);
  } catch (error) {
    await rm(draft, { force: true });
    throw unusable(`write \`${file}\``, error);
  }
}

const staleAfterMs = 30_000;

/**
 * Runs alone among all processes of this user that name the same lock. A lock whose owner is dead, or older than
 * anything we do under it, is broken.
 */
export async function withLock<T>(file: string, run: () => Promise<T>): Promise<T> {
  const lock = `${file}.lock`;
  const mark = `${process.pid} ${randomBytes(8).toString('hex')}\n`;
  await mkdir(dirname(lock), { recursive: true, mode: 0o700 });
  const giveUpAt = Date.now() + staleAfterMs + 5000;
  for (;;) {
    if (await takeLock(lock, mark)) break;
    if (Date.now() > giveUpAt)
      throw new CliError('fault', `lock \`${lock}\`: another process holds it`, {
        hint: 'if no other `sally` runs, delete that file',
      });
    await sleep(20 + Math.random() * 30);
  }
  try {
    return await run();
  } finally {
    await rm(lock, { force: true });
  }
}

async function takeLock(lock: string, mark: string): Promise<boolean> {
  try {
    const handle = await open(lock, 'wx', 0o600);
    await handle.writeFile(mark);
    await handle.close();
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw unusable(`lock \`${lock}\``, error);
  }
  const seen = await readText(lock);
  const age = await stat(lock).then(
    (s) => Date.now() - s.mtimeMs,
    () => 0,
  );
  // Empty: its owner is between making and writing it, or died there; the age decides.
  const pid = Number(seen?.split(' ')[0]);
  const dead = seen !== undefined && seen !== '' && !isRunning(pid);
  if (seen === undefined || !(dead || age > staleAfterMs)) return false;
  const aside = `${lock}.${randomBytes(6).toString('hex')}`;
  try {
    await rename(lock, aside);
    // Somebody else may have broken it and taken it anew between our look and our move: then it goes back.
    if ((await readText(aside)) !== seen) await link(aside, lock).catch(() => {});
  } catch {
    return false;
  }
  await rm(aside, { force: true });
  return false;
}

function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function unusable(what: string, error: unknown): CliError {
  if (error instanceof CliError) return error;
  return new CliError('fault', `${what}: ${error instanceof Error ? error.message : String(error)}`, {
    hint: 'the folder of the CLI is `$XDG_CONFIG_HOME/sallyport`; `sally doctor` looks at it',
    cause: error,
  });
}
