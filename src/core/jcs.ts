/**
 * JSON in one spelling only (RFC 8785, JCS), so that the same content always gives the same bytes to hash and sign:
 * no white space, members sorted by their UTF-16 code units, numbers as ECMAScript prints them, the shortest escapes.
 * What has no such spelling (undefined, NaN, lone surrogates, instances of classes) is refused rather than guessed at.
 */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  /** `undefined` is allowed by the type so that optional fields fit; at run time it is refused. */
  | { readonly [name: string]: Json | undefined };

/** Thrown for a value that has no canonical spelling: a fault of the caller, never an expected outcome. */
export class CanonicalJsonError extends Error {
  readonly code = 'json.not_canonical';
  constructor(what: string, path: string) {
    super(`write canonical JSON: ${what} at \`${path === '' ? '/' : path}\``);
  }
}

/** Deep enough for anything we write; hostile nesting must not end in a stack overflow. */
const maxDepth = 64;
const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;

/** The canonical text of a value. @throws CanonicalJsonError with the JSON pointer of what was refused */
export function canonicalJson(value: unknown): string {
  return write(value, '', 0);
}

/** The canonical text as UTF-8: what is hashed. @throws CanonicalJsonError */
export function canonicalJsonBytes(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(canonicalJson(value));
}

/** The value of a text that is exactly its own canonical spelling; undefined for anything else, duplicate members included. */
export function parseCanonicalJson(text: string): Json | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return canonicalJson(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}

/** As `parseCanonicalJson`, from UTF-8; malformed UTF-8 and a byte order mark are refused. */
export function parseCanonicalJsonBytes(bytes: Uint8Array): Json | undefined {
  try {
    return parseCanonicalJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function write(value: unknown, path: string, depth: number): string {
  if (depth > maxDepth) throw new CanonicalJsonError(`more than ${maxDepth} levels`, path);
  switch (typeof value) {
    case 'boolean':
      return value ? 'true' : 'false';
    case 'number':
      if (!Number.isFinite(value)) throw new CanonicalJsonError(`the number ${value}`, path);
      return JSON.stringify(value);
    case 'string':
      return writeString(value, path);
    case 'object':
      break;
    default:
      throw new CanonicalJsonError(`a value of type ${typeof value}`, path);
  }
  if (value === null) return 'null';
  if (Array.isArray(value)) {
    let text = '[';
    // By index, since a hole must be seen (and refused) and not skipped.
    for (let i = 0; i < value.length; i += 1) text += (i === 0 ? '' : ',') + write(value[i], `${path}/${i}`, depth + 1);
    return `${text}]`;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  // A Date or a Map would silently become a string or {}.
  if (prototype !== Object.prototype && prototype !== null)
    throw new CanonicalJsonError('an instance of a class', path);
  // The default order of sort() is by UTF-16 code units, which is what RFC 8785 section 3.2.3 asks for.
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  let text = '{';
  for (const [name, member] of members)
    text += `${text === '{' ? '' : ','}${writeString(name, path)}:${write(member, `${path}/${name}`, depth + 1)}`;
  return `${text}}`;
}

function writeString(text: string, path: string): string {
  if (loneSurrogate.test(text)) throw new CanonicalJsonError('a lone surrogate', path);
  return JSON.stringify(text);
}
