/** The API as data: one value an endpoint, read by the server, the CLI, the console and the OpenAPI document alike. */
import type { z } from 'zod';
import type { ErrorCode } from './errors.ts';

export type Endpoint = {
  readonly method: 'GET' | 'POST';
  /** With `{name}` for parameters. */
  readonly path: `/${string}`;
  readonly summary: string;
  /** `stranger`: anybody. `principal`: signed in at the console or the CLI. */
  readonly for: 'stranger' | 'principal';
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answer: z.ZodType;
  /** Besides those that every endpoint can answer (`invalid_input`, `not_signed_in`, `cross_site`, `too_many_tries`, `fault` …). */
  readonly errors: readonly ErrorCode[];
  /** The answer isn't JSON. */
  readonly answerType?: 'text/plain' | 'application/x-ndjson' | 'application/octet-stream';
};

type Part<
  E extends Endpoint,
  K extends 'params' | 'query' | 'body',
  D extends 'input' | 'output',
> = E[K] extends z.ZodType ? { readonly [P in K]: D extends 'input' ? z.input<E[K]> : z.output<E[K]> } : unknown;

/** What a client sends. */
export type InputOf<E extends Endpoint> = Part<E, 'params', 'input'> &
  Part<E, 'query', 'input'> &
  Part<E, 'body', 'input'>;
/** What a handler gets. */
export type ParsedOf<E extends Endpoint> = Part<E, 'params', 'output'> &
  Part<E, 'query', 'output'> &
  Part<E, 'body', 'output'>;
export type AnswerOf<E extends Endpoint> = z.input<E['answer']>;

export const endpoint = <const E extends Endpoint>(e: E): E => e;
