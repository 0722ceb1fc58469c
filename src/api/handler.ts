/** The shape of a handler: what it gets, and what it may answer, both by the contract's endpoint. */
import type { AppContext, Caller, Refused } from '#app/context.ts';
import type { AnswerOf, Endpoint, ParsedOf } from '#contract/endpoint.ts';
import type { endpoints, EndpointName } from '#contract/endpoints.ts';
import type { Waiters } from './waiters.ts';

/** What a handler may give for an answer: the schema's input, never changed by anybody. */
export type Sent<T> = T extends readonly (infer Item)[]
  ? readonly Sent<Item>[]
  : T extends object
    ? { readonly [K in keyof T]: Sent<T[K]> }
    : T;

export type Answered<T> =
  | {
      readonly kind: 'done';
      readonly value: T;
      /** A `Set-Cookie` value. */
      readonly setCookie?: string;
    }
  | Refused
  /** As long as it takes, in the type that the endpoint names. */
  | { readonly kind: 'stream'; readonly body: ReadableStream<Uint8Array> };

/** What every handler gets besides its input. */
export type Calling = {
  readonly app: AppContext;
  readonly version: string;
  /** Where the caller is, as far as it can be known. */
  readonly address: string;
  /** Aborted when the client is gone, or the server wants to stop: a wait ends. */
  readonly signal: AbortSignal;
  readonly waiters: Waiters;
  /** Those who are taking a copy of the log. */
  readonly exports: Waiters;
  /** Ends the connection without an end of the answer, so that the client can tell that something is missing; and why, if that is a fault. */
  readonly cut: (fault?: unknown) => void;
};

export type Call<E extends Endpoint> = Calling &
  ParsedOf<E> &
  (E['for'] extends 'principal' ? { readonly caller: Caller } : unknown);

export type Handler<E extends Endpoint> = (call: Call<E>) => Promise<Answered<Sent<AnswerOf<E>>>>;

export type Handlers = { readonly [K in EndpointName]: Handler<(typeof endpoints)[K]> };

/** The outcome with its value shown. */
export function map<T, V>(
  outcome: { readonly kind: 'done'; readonly value: T } | Refused,
  show: (value: T) => V,
): { readonly kind: 'done'; readonly value: V } | Refused {
  return outcome.kind === 'refused' ? outcome : { kind: 'done', value: show(outcome.value) };
}
