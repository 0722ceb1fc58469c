/** Errors on their way out: the contract's body and status, and nothing of what was sent or of what went wrong inside. */
import { errorStatus, type ErrorBody, type ErrorCode } from '#contract/errors.ts';

export type ApiRefusal = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly field?: string | undefined;
  /** Of `approval_needed`: where it waits. */
  readonly hold?: { readonly id: string; readonly url: string } | undefined;
  readonly headers?: Readonly<Record<string, string>>;
};

/** Thrown within this folder to leave the path of a request early; never seen outside of it. */
export class RefusedRequest extends Error {
  readonly refusal: ApiRefusal;
  constructor(refusal: ApiRefusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

export function refuse(
  code: ErrorCode,
  message: string,
  more: Omit<ApiRefusal, 'code' | 'message'> = {},
): RefusedRequest {
  return new RefusedRequest({ code, message, ...more });
}

export function errorAnswer(refusal: ApiRefusal): Response {
  const { code, message, hint, field, hold } = refusal;
  const body: ErrorBody = {
    error: {
      code,
      message,
      ...(hint === undefined ? {} : { hint }),
      ...(field === undefined ? {} : { field }),
      ...(hold === undefined ? {} : { hold: hold.id, url: hold.url }),
    },
  };
  return new Response(JSON.stringify(body), {
    status: errorStatus[code],
    headers: { 'content-type': 'application/json; charset=utf-8', ...refusal.headers },
  });
}

/** The client went away while it was being read: nobody is left to answer, and nothing is wrong with us. */
export class ClientGone extends Error {}

/**
 * Whether a fault says that the database can't be reached or can't serve just now, so that trying again makes sense:
 * network errors of Node, SQLSTATE classes 08 and 57P, too many connections, and `pg`'s own words for a lost connection.
 */
export function isUnavailable(fault: unknown, depth = 0): boolean {
  if (!(fault instanceof Error) || depth > 5) return false;
  const code = 'code' in fault ? String(fault.code) : '';
  if (
    /^(?:ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOENT|EHOSTUNREACH|ENOTFOUND|EAI_AGAIN|08...|57P0.|53300)$/.test(code)
  )
    return true;
  if (
    /^Connection terminated|^timeout exceeded when trying to connect|^Client has encountered a connection error/.test(
      fault.message,
    )
  )
    return true;
  if (fault instanceof AggregateError && fault.errors.some((one) => isUnavailable(one, depth + 1))) return true;
  return isUnavailable(fault.cause, depth + 1);
}
