/** Params, query and body through the contract's schemas. What is wrong is told by the name of the field, never by its value. */
import type { Endpoint } from '#contract/endpoint.ts';
import { refuse, type RefusedRequest } from './errors.ts';
import { decodeText } from './read-body.ts';

type Schema = NonNullable<Endpoint['body']>;
type Issue = {
  readonly code?: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly minimum?: number | bigint;
  readonly maximum?: number | bigint;
  readonly origin?: string;
  readonly values?: readonly unknown[];
  readonly expected?: string;
};

/** @throws RefusedRequest `invalid_input` */
export function parseWith(schema: Schema, value: unknown, where: 'path' | 'query' | 'body'): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw refusalOf(parsed.error.issues[0] as Issue | undefined, where);
}

/** @throws RefusedRequest `invalid_input` when it isn't JSON */
export function parseJson(bytes: Uint8Array): unknown {
  const text = decodeText(bytes);
  try {
    if (text !== undefined) return JSON.parse(text);
  } catch {
    // Told below, without the parser's message: it quotes what was sent.
  }
  throw refuse('invalid_input', 'the body is not JSON in UTF-8', { field: 'body' });
}

/** One value each: of two, one would be judged and the other used. */
export function queryOf(parameters: URLSearchParams): Readonly<Record<string, string>> {
  const values = new Map<string, string>();
  for (const [name, value] of parameters) {
    if (values.has(name)) throw refuse('invalid_input', 'a query parameter is there twice');
    values.set(name, value);
  }
  return Object.fromEntries(values);
}

function refusalOf(issue: Issue | undefined, where: string): RefusedRequest {
  if (issue === undefined) return refuse('invalid_input', `the ${where} is not as it must be`);
  // Names of fields come from our schemas; a name that only the client knows could be anything.
  const names = issue.path.map(String).filter((name) => /^\w{1,40}$/.test(name));
  const field = names.length === 0 ? where : names.join('.');
  return refuse('invalid_input', `\`${field}\` ${complaint(issue)}`, { field });
}

function complaint(issue: Issue): string {
  const { code, message } = issue;
  // A schema of ours with its own words.
  if (!/^(?:Invalid|Too|Unrecognized)/.test(message)) return `is not as it must be: ${message}`;
  const unit = issue.origin === 'string' ? ' characters' : issue.origin === 'array' ? ' items' : '';
  if (code === 'too_small')
    return unit === '' ? `must be at least ${issue.minimum}` : `must have at least ${issue.minimum}${unit}`;
  if (code === 'too_big')
    return unit === '' ? `must be at most ${issue.maximum}` : `must have at most ${issue.maximum}${unit}`;
  if (code === 'invalid_type')
    return message.endsWith('received undefined')
      ? 'is missing'
      : `must be ${withArticle(issue.expected ?? 'of another type')}`;
  if (code === 'invalid_value' && issue.values !== undefined)
    return `must be one of ${issue.values.map((value) => `\`${String(value)}\``).join(', ')}`;
  return 'is not well-formed';
}

const withArticle = (name: string): string =>
  name === 'int' ? 'a whole number' : /^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`;
