/** `sally log export`: writes a copy of the whole log that verifies offline. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { endpoints } from '#contract/endpoints.ts';
import { decodeBase64 } from '#core/base64.ts';
import type { Cli } from './cli.ts';
import { codeOf } from './config-folder.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';
import { waitFor } from './waiting.ts';

export function addLogExport(log: Command, cli: Cli): void {
  examples(
    log
      .command('export')
      .summary('write a copy of the whole log')
      .description(
        'Writes a copy of the whole log into a new folder: every entry, tile and checkpoint, with a signed manifest. The ' +
          'contents that you may read open in it; the others stay sealed. Exporting is itself logged.',
      )
      .argument('<folder>', 'where to; it must not be there yet, or be empty')
      .action((folder: string) => exportLog(cli, folder)),
    ['a copy, and a check of it', 'sally log export copy && sally log verify copy'],
  );
}

async function exportLog(cli: Cli, folder: string): Promise<void> {
  const target = resolve(folder);
  await refuseUsedFolder(folder, target);
  const server = await openServer(cli, 'signed-in');
  // Beside the target, so that what is there in the end is a whole copy or nothing.
  const draft = `${target}.${randomBytes(4).toString('hex')}.part`;
  try {
    await mkdir(draft, { recursive: true, mode: 0o700 });
    const written = await waitFor(
      cli,
      { what: 'copy the log', timeoutMs: undefined, hint: 'nothing was kept of it' },
      async (signal, live) => {
        live.say('copying the log');
        const body = await attempt('copy the log', () => server.stream(endpoints.exportLog, signal));
        return writeFiles(body, draft, (files, bytes) => {
          if (cli.screen.err.isTty) live.say(`copying the log: ${files} files, ${size(bytes)}`);
        });
      },
    );
    await rename(draft, target);
    const { out } = cli.screen;
    if (cli.shared().json) return json(out, { folder: target, ...written });
    line(
      out,
      'Copied the log to ',
      { text: folder, colour: 'bold' },
      `: ${written.files} files, ${size(written.bytes)}`,
    );
    line(out, { text: 'Check it, on any machine, with ', colour: 'dim' }, `sally log verify ${folder}`);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

async function refuseUsedFolder(folder: string, target: string): Promise<void> {
  try {
    const there = await readdir(target);
    if (there.length > 0)
      throw new CliError('usage', `copy the log to \`${folder}\`: the folder is not empty`, { hint: 'name a new one' });
  } catch (error) {
    if (error instanceof CliError) throw error;
    if (codeOf(error) === 'ENOENT') return;
    throw new CliError(
      'usage',
      `copy the log to \`${folder}\`: ${codeOf(error) === 'ENOTDIR' ? 'that is a file' : String(error)}`,
      {
        cause: error,
      },
    );
  }
}

/** A path of a copy: names of lower-case letters, digits, `.`, `_`, `-`, joined by `/`. Nothing that leads out of it. */
export function isCopyPath(path: string): boolean {
  return path.length <= 200 && path.split('/').every((name) => /^[a-z0-9_-][a-z0-9._-]*$/.test(name));
}

/** More than any file of a copy has; a line that is longer is not from a copy. */
const maxLineBytes = 64 * 1024 * 1024;

/** Writes each line of the stream as a file. The last one says that it was all. */
export async function writeFiles(
  body: ReadableStream<Uint8Array>,
  folder: string,
  progress: (files: number, bytes: number) => void,
): Promise<{ readonly files: number; readonly bytes: number }> {
  let files = 0;
  let bytes = 0;
  let done = false;
  const made = new Set<string>();
  for await (const text of linesOf(body)) {
    const record = parseLine(text);
    if (done || record === undefined) throw new CliError('fault', 'copy the log: the answer is not a copy of a log');
    if (record.kind === 'done') {
      done = true;
      continue;
    }
    // INVARIANT: nothing is written outside of the folder, whatever the server sends.
    if (!isCopyPath(record.path))
      throw new CliError('fault', `copy the log: the server named a file \`${record.path}\` that no copy has`);
    const file = join(folder, record.path);
    const parent = dirname(file);
    if (!made.has(parent)) {
      await mkdir(parent, { recursive: true, mode: 0o700 });
      made.add(parent);
    }
    // `wx`: neither a second file of that name, nor one through a link that something put there.
    const handle = await open(file, 'wx', 0o600);
    await handle.writeFile(record.data);
    await handle.close();
    files += 1;
    bytes += record.data.length;
    progress(files, bytes);
  }
  if (!done)
    throw new CliError('unreachable', 'copy the log: the answer ended early', {
      hint: 'nothing was kept of it; try again',
    });
  return { files, bytes };
}

type Line = { readonly kind: 'done' } | { readonly kind: 'file'; readonly path: string; readonly data: Uint8Array };

function parseLine(text: string): Line | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if ('done' in value && value.done === true) return { kind: 'done' };
  if (!('path' in value) || !('data' in value) || typeof value.path !== 'string' || typeof value.data !== 'string')
    return undefined;
  const data = decodeBase64(value.data);
  return data === undefined ? undefined : { kind: 'file', path: value.path, data };
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    let start = 0;
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, at));
      yield Buffer.concat(parts).toString('utf8');
      parts = [];
      length = 0;
      start = at + 1;
    }
    parts.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > maxLineBytes) throw new CliError('fault', 'copy the log: a line of the answer is too long');
  }
  const rest = Buffer.concat(parts).toString('utf8');
  if (rest !== '') yield rest;
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
