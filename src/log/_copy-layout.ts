/** Which files a copy of the log has, and the manifest that lists them. Shared by the writer and the verifier. */
import { createHash } from 'node:crypto';
import { decodeBase64Url, encodeBase64Url } from '#core/base64.ts';
import { canonicalJson, parseCanonicalJson } from '#core/jcs.ts';
import type { ContentKey } from './content.ts';
import { indexPath } from './tiles.ts';

export const paths = {
  key: 'log.vkey',
  checkpoint: 'checkpoint',
  contentKeys: 'keys.json',
  manifest: 'manifest',
  /** The contents of the entries of bundle `index`. */
  content: (index: number) => `content/${indexPath(index)}`,
  earlierCheckpoint: (size: number) => `checkpoints/${size}`,
} as const;

/** The size in the path of an earlier checkpoint, or undefined for any other path. */
export function earlierCheckpointSize(path: string): number | undefined {
  const size = /^checkpoints\/(0|[1-9][0-9]{0,15})$/.exec(path)?.[1];
  return size === undefined ? undefined : Number(size);
}

export type Listed = { readonly path: string; readonly size: number; readonly sha256: string };

/** Names of letters, digits and inner dots: no path leads out of the folder. */
const pathSpelling = /^[a-z0-9]+(?:\.[a-z0-9]+)*(?:\/[a-z0-9]+(?:\.[a-z0-9]+)*)*$/;
const heading = 'sallyport/log-copy/v1';

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The text of the manifest: heading, origin, then `<sha256> <size> <path>` a line each, sorted by path. */
export function manifestText(origin: string, files: readonly Listed[]): string {
  const lines = files
    .toSorted((a, b) => (a.path < b.path ? -1 : 1))
    .map((file) => `${file.sha256} ${file.size} ${file.path}\n`);
  return `${heading}\norigin ${origin}\n${lines.join('')}`;
}

/** The files of a manifest, or undefined when the text isn't exactly what `manifestText` writes. */
export function parseManifest(text: string): { origin: string; files: Map<string, Listed> } | undefined {
  const [first, second, ...lines] = text.split('\n');
  if (first !== heading || second?.startsWith('origin ') !== true || lines.pop() !== '') return undefined;
  const files = new Map<string, Listed>();
  let before = '';
  for (const line of lines) {
    const [, sha256, size, path] = /^([0-9a-f]{64}) (0|[1-9][0-9]{0,15}) (.+)$/.exec(line) ?? [];
    if (sha256 === undefined || size === undefined || path === undefined || path <= before) return undefined;
    if (!pathSpelling.test(path)) return undefined;
    files.set(path, { path, size: Number(size), sha256 });
    before = path;
  }
  return { origin: second.slice('origin '.length), files };
}

/** `keys.json`: the keys that open contents, by id, each base64url. */
export function encodeContentKeys(keys: readonly ContentKey[]): string {
  return canonicalJson({ v: 1, keys: Object.fromEntries(keys.map(({ id, key }) => [id, encodeBase64Url(key)])) });
}

export function parseContentKeys(text: string): Map<string, ContentKey> | undefined {
  const value = parseCanonicalJson(text) as { readonly v?: unknown; readonly keys?: unknown } | null | undefined;
  if (typeof value !== 'object' || value === null || value.v !== 1 || Object.keys(value).length !== 2) return undefined;
  if (typeof value.keys !== 'object' || value.keys === null || Array.isArray(value.keys)) return undefined;
  const keys = new Map<string, ContentKey>();
  for (const [id, spelled] of Object.entries(value.keys)) {
    const key = typeof spelled === 'string' ? decodeBase64Url(spelled) : undefined;
    if (key?.length !== 32) return undefined;
    keys.set(id, { id, key });
  }
  return keys;
}
