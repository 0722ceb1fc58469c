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

/** The canonical text of a value. @throws CanonicalJsonError with the JSON pointer of what was refused */
export function canonicalJson(value: unknown): string {
  try {
    return write(value, 0);
  } catch (error) {
    throw error instanceof Refusal ? new CanonicalJsonError(error.what, error.path) : error;
  }
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

/** What is refused; where it is is put together on the way out, so that what isn't refused pays nothing for it. */
class Refusal extends Error {
  readonly what: string;
  path = '';

  constructor(what: string) {
    super(what);
    this.what = what;
  }
}

function under(name: string | number, error: unknown): unknown {
  if (error instanceof Refusal) error.path = `/${name}${error.path}`;
  return error;
}

function write(value: unknown, depth: number): string {
  if (depth > maxDepth) throw new Refusal(`more than ${maxDepth} levels`);
  switch (typeof value) {
    case 'boolean':
      return value ? 'true' : 'false';
    case 'number':
      if (!Number.isFinite(value)) throw new Refusal(`the number ${value}`);
      return JSON.stringify(value);
    case 'string':
      return writeString(value);
    case 'object':
      break;
    default:
      throw new Refusal(`a value of type ${typeof value}`);
  }
  if (value === null) return 'null';
  return Array.isArray(value) ? writeArray(value, depth) : writeObject(value, depth);
}

function writeArray(items: readonly unknown[], depth: number): string {
  let text = '[';
  let i = 0;
  try {
    // By index, since a hole must be seen (and refused) and not skipped.
    for (; i < items.length; i += 1) text += (i === 0 ? '' : ',') + write(items[i], depth + 1);
  } catch (error) {
    throw under(i, error);
  }
  return `${text}]`;
}

function writeObject(value: object, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  // A Date or a Map would silently become a string or {}.
  if (prototype !== Object.prototype && prototype !== null) throw new Refusal('an instance of a class');
  const members: Readonly<Record<string, unknown>> = value as Record<string, unknown>;
  const names = Object.keys(value);
  // The default order of sort() is by UTF-16 code units, which is what RFC 8785 section 3.2.3 asks for.
  if (!isSorted(names)) names.sort();
  let text = '{';
  for (const name of names) {
    // A name that is refused is named by where it stands.
    text += `${text === '{' ? '' : ','}${writeString(name)}:`;
    try {
      text += write(members[name], depth + 1);
    } catch (error) {
      throw under(name, error);
    }
  }
  return `${text}}`;
}

function isSorted(names: readonly string[]): boolean {
  for (let i = 1; i < names.length; i += 1) if ((names[i - 1] ?? '') > (names[i] ?? '')) return false;
  return true;
}

function writeString(text: string): string {
  if (!text.isWellFormed()) throw new Refusal('a lone surrogate');
  return JSON.stringify(text);
}
