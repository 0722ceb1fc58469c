/**
 * The built console. Its files are read once, at the start, into a table by path: what isn't in the table isn't there, so
 * no path that a client makes up reaches the file system.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { promisify } from 'node:util';
import { constants, brotliCompress, gzip } from 'node:zlib';

export type ConsoleFile = {
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where it is worth it. */
  readonly compressed: { readonly [encoding in 'br' | 'gzip']?: Uint8Array<ArrayBuffer> };
  /** Its name changes with its content. */
  readonly isImmutable: boolean;
  readonly etag: string;
};

export type ConsoleFiles = {
  /** By path, such as `/assets/index-1a2b3c.js`. */
  readonly find: (path: string) => ConsoleFile | undefined;
  readonly index: ConsoleFile | undefined;
};

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  png: 'image/png',
  ico: 'image/x-icon',
  woff2: 'font/woff2',
  json: 'application/json',
  webmanifest: 'application/manifest+json',
  txt: 'text/plain; charset=utf-8',
};

/** @param root the folder that Vite built; undefined, or one that isn't there: no console, only the API */
export async function readConsoleFiles(root: string | undefined): Promise<ConsoleFiles> {
  const files = new Map<string, ConsoleFile>();
  if (root !== undefined)
    for (const path of await list(root)) {
      const name = `/${relative(root, path).split(sep).join('/')}`;
      const type = types[name.slice(name.lastIndexOf('.') + 1)];
      // Source maps and the like stay at home.
      if (type !== undefined) files.set(name, await read(path, name, type));
    }
  return { find: (path) => files.get(path), index: files.get('/index.html') };
}

async function list(root: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return [];
    throw cause;
  }
}

async function read(path: string, name: string, type: string): Promise<ConsoleFile> {
  const bytes = new Uint8Array(await readFile(path));
  const isText = !type.startsWith('image/png') && !type.startsWith('font/');
  const compressed =
    isText && bytes.length > 1000
      ? {
          // At 9 of 11 it takes milliseconds, once, and is within a few percent.
          br: new Uint8Array(
            await promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }),
          ),
          gzip: new Uint8Array(await promisify(gzip)(bytes, { level: 9 })),
        }
      : {};
  return { type, bytes, compressed, isImmutable: name.startsWith('/assets/'), etag: `"${await digest(bytes)}"` };
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Buffer.from(hash.subarray(0, 12)).toString('base64url');
}

/** The file as an answer; `HEAD` is the router's. */
export function fileAnswer(file: ConsoleFile, headers: Headers): Response {
  const answer = new Headers({
    'content-type': file.type,
    'cache-control': file.isImmutable ? 'public, max-age=31536000, immutable' : 'no-cache',
    etag: file.etag,
    vary: 'accept-encoding',
  });
  if (headers.get('if-none-match') === file.etag) return new Response(null, { status: 304, headers: answer });
  const accepted = headers.get('accept-encoding') ?? '';
  for (const encoding of ['br', 'gzip'] as const) {
    const bytes = file.compressed[encoding];
    if (
      bytes === undefined ||
      !new RegExp(`(?:^|[\\s,])${encoding}\\s*(?:,|;\\s*q=(?!0(?:\\.0*)?\\s*(?:,|$))|$)`).test(accepted)
    )
      continue;
    answer.set('content-encoding', encoding);
    return new Response(bytes, { headers: answer });
  }
  return new Response(file.bytes, { headers: answer });
}
