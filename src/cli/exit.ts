/** Exit codes, and the one error type that the entry point turns into two lines on stderr and one of these codes. */
import { ApiError } from '#contract/client.ts';
import type { ErrorCode } from '#contract/errors.ts';

export const exitCodes = {
  done: 0,
  refused: 1,
  usage: 2,
  not_signed_in: 3,
  not_found: 4,
  unreachable: 5,
  timed_out: 6,
  verification_failed: 7,
  fault: 70,
  command_not_found: 127,
  interrupted: 130,
} as const;

export type Exit = keyof typeof exitCodes;

/** What each code means, for the reference. */
export const exitMeanings: Readonly<Record<Exit, string>> = {
  done: 'done',
  refused: 'refused or denied: by the server, by an approver, or because it was too late',
  usage: 'wrong usage, or not enough to go on without a terminal to ask at',
  not_signed_in: 'not signed in, or the sign-in is over',
  not_found: 'no such request, grant, role …, or none that you may see',
  unreachable: 'the server could not be reached',
  timed_out: 'the time to wait was over',
  verification_failed: 'verification failed (`log verify`, `policy test`, `validate`, `apply`, `doctor`)',
  fault: 'a fault in Sallyport itself',
  command_not_found: 'the program to run is not installed (`connect`)',
  interrupted: 'interrupted (Ctrl-C)',
};

/** Something expected went wrong: said in one line, without a stack trace. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exit: Exit;
  readonly hint: string | undefined;
  /** The API's code where it was the API that said no. */
  readonly code: ErrorCode | undefined;
  constructor(
    exit: Exit,
    message: string,
    more: { readonly hint?: string | undefined; readonly code?: ErrorCode; readonly cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.exit = exit;
    this.hint = more.hint;
    this.code = more.code;
  }
}

/** A command that has printed everything already and only has to end with a code. */
export class QuietExit extends Error {
  override readonly name = 'QuietExit';
  readonly status: number;
  constructor(status: number) {
    super(`exit ${status}`);
    this.status = status;
  }
}

/** Runs something and names it in the API's refusal: `deny the request: it was decided already`. */
export async function attempt<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof ApiError) throw fromApi(what, error);
    throw error;
  }
}

/** The API's refusal in the CLI's words, with the exit code that belongs to it. */
export function fromApi(what: string, error: ApiError): CliError {
  return new CliError(exitOf(error.code), `${what}: ${error.message}`, {
    hint: error.hint ?? hintOf(error.code),
    code: error.code,
    cause: error,
  });
}

function exitOf(code: ErrorCode): Exit {
  switch (code) {
    case 'invalid_token':
    case 'not_signed_in':
    case 'fresh_sign_in_needed':
      return 'not_signed_in';
    case 'invalid_input':
    case 'too_large':
      return 'usage';
    case 'not_found':
      return 'not_found';
    case 'configuration_refused':
      return 'verification_failed';
    case 'unavailable':
      return 'unreachable';
    case 'fault':
      return 'fault';
    default:
      return 'refused';
  }
}

function hintOf(code: ErrorCode): string | undefined {
  switch (code) {
    case 'invalid_token':
    case 'not_signed_in':
    case 'fresh_sign_in_needed':
      return 'sign in with `sally login`';
    case 'unavailable':
      return 'try again in a moment; `sally doctor` looks for the reason';
    case 'too_many_tries':
      return 'wait a minute before the next try';
    case 'fault':
      return 'the reason is in the log of the server';
    default:
      return undefined;
  }
}
