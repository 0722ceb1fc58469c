/** A typed client of the API for the console and the CLI. It holds no secrets: `send` adds what authenticates. */
import { endpoints, type EndpointName } from './endpoints.ts';
import type { Endpoint, InputOf } from './endpoint.ts';
import { errorBody, type ErrorCode } from './errors.ts';
import type { z } from 'zod';

export type HttpRequest = {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly body: string | undefined;
  readonly signal: AbortSignal | undefined;
};
export type HttpAnswer = { readonly status: number; readonly text: () => Promise<string> };
/** Sends a request to the API with whatever authenticates the caller. */
export type Send = (request: HttpRequest) => Promise<HttpAnswer>;

/** An error that the API answered. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly hint: string | undefined;
  constructor(code: ErrorCode, status: number, message: string, hint: string | undefined) {
    super(message);
    this.code = code;
    this.status = status;
    this.hint = hint;
  }
}

type Ends = typeof endpoints;
type Arguments<E extends Endpoint> =
  unknown extends InputOf<E> ? [input?: undefined, signal?: AbortSignal] : [input: InputOf<E>, signal?: AbortSignal];
export type Client = {
  readonly [K in EndpointName]: (...args: Arguments<Ends[K]>) => Promise<z.output<Ends[K]['answer']>>;
};

type AnyInput = { readonly params?: unknown; readonly query?: unknown; readonly body?: unknown };

/** The path of an endpoint with its parameters and query put in. */
export function urlOf(e: Endpoint, input: AnyInput | undefined): string {
  const params = (input?.params ?? {}) as Record<string, unknown>;
  const path = e.path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(params[name])));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(
    (input?.query ?? {}) as Record<string, string | number | boolean | undefined>,
  ))
    if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}

export function createClient(send: Send): Client {
  const call = async (e: Endpoint, input: AnyInput | undefined, signal: AbortSignal | undefined): Promise<unknown> => {
    const body = e.body === undefined ? undefined : JSON.stringify(input?.body ?? {});
    const answer = await send({ method: e.method, url: urlOf(e, input), body, signal });
    const text = await answer.text();
    if (answer.status >= 200 && answer.status < 300)
      return e.answer.parse(e.answerType === undefined ? JSON.parse(text) : text);
    throw parseError(answer.status, text);
  };
  const client: Record<string, unknown> = {};
  for (const [name, e] of Object.entries(endpoints))
    client[name] = (input?: AnyInput, signal?: AbortSignal) => call(e, input, signal);
  // Each member was built from the endpoint of the same name, which is what the mapped type says.
  return client as Client;
}

/** The error of an answer, whatever stands between us and the server may have made of its body. */
export function parseError(status: number, text: string): ApiError {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  const parsed = errorBody.safeParse(json);
  if (!parsed.success)
    return new ApiError(
      status >= 500 ? 'unavailable' : 'fault',
      status,
      `the server answered with HTTP ${status}`,
      undefined,
    );
  const { code, message, hint } = parsed.data.error;
  return new ApiError(code, status, message, hint);
}
