/**
 * The console's way to the API: the contract's typed client over same-origin `fetch`, which carries the session cookie.
 * An act that needs a fresher sign-in is offered one in place and then done as if nothing had been.
 */
import { ApiError, type Client, createClient, type Send } from '#contract/client.ts';
import type { ServerClock } from './server-clock.ts';

const sendWith =
  (clock: ServerClock): Send =>
  async ({ method, url, body, signal }) => {
    const answer = await fetch(url, {
      method,
      headers: {
        accept: 'application/json',
        // POST always says JSON, with or without a body: the server takes nothing else, so no form of another site can post.
        ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
      },
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
      credentials: 'same-origin',
      redirect: 'error',
    });
    clock.hear(answer.headers.get('date'));
    return { status: answer.status, text: () => answer.text() };
  };

/** The API as it is, for strangers and for the sign-in itself. */
export const createPlainApi = (clock: ServerClock): Client => createClient(sendWith(clock));

/** The same, but `fresh_sign_in_needed` asks `signInAgain` once and, when that worked, repeats the call. */
export function createApi(clock: ServerClock, signInAgain: () => Promise<boolean>): Client {
  const plain = createPlainApi(clock) as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const wrapped = Object.entries(plain).map(([name, call]) => [
    name,
    async (...args: unknown[]) => {
      try {
        return await call(...args);
      } catch (error) {
        if (!(error instanceof ApiError && error.code === 'fresh_sign_in_needed')) throw error;
        if (!(await signInAgain())) throw error;
        return await call(...args);
      }
    },
  ]);
  return Object.fromEntries(wrapped) as Client;
}

/** True for the errors that mean: nobody is signed in here (any more). */
export const isSignedOut = (error: unknown): boolean =>
  error instanceof ApiError && (error.code === 'not_signed_in' || error.code === 'invalid_token');
