/** What the mock's handlers have in common: what they get, what they answer, how they refuse. */
import type { AnswerOf, ParsedOf } from '#contract/endpoint.ts';
import type { EndpointName, endpoints } from '#contract/endpoints.ts';
import type { ErrorCode } from '#contract/errors.ts';
import type { Person, WebSession } from './mock-world.ts';

/** An outcome that the API answers as an error. */
export class Refusal extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export type Call = {
  readonly session: WebSession;
  readonly person: Person;
  readonly signIn: (principal: string) => WebSession;
  readonly signOut: () => void;
  readonly page: <T>(
    items: readonly T[],
    query: { cursor?: string | undefined; limit: number },
  ) => { items: T[]; next: string | null };
};

type Ends = typeof endpoints;
export type Handlers = { readonly [K in EndpointName]: (input: ParsedOf<Ends[K]>, call: Call) => AnswerOf<Ends[K]> };
