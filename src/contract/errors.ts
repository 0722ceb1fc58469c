/**
 * Error codes of the API: stable words that clients may branch on, each with its HTTP status. The body of every error
 * answer is `{ error: { code, message, hint?, field? } }`; it never repeats what was sent, for that may hold a secret.
 */
import { z } from 'zod';

export const errorStatus = {
  invalid_input: 400,
  invalid_token: 401,
  not_signed_in: 401,
  fresh_sign_in_needed: 401,
  sign_in_failed: 401,
  forbidden: 403,
  own_request: 403,
  /** An act of administration that somebody else approves first; `hold` is where. */
  approval_needed: 403,
  proof_refused: 403,
  cross_site: 403,
  not_found: 404,
  /** The request names another host than this server's. */
  misdirected: 421,
  already_decided: 409,
  already_approved_by_you: 409,
  already_ended: 409,
  already_active: 409,
  conflict: 409,
  expired: 410,
  too_early: 409,
  too_large: 413,
  configuration_refused: 422,
  too_many_tries: 429,
  fault: 500,
  unavailable: 503,
} as const;

export type ErrorCode = keyof typeof errorStatus;

export const errorBody = z
  .object({
    error: z.object({
      code: z.enum(Object.keys(errorStatus) as [ErrorCode, ...ErrorCode[]]),
      message: z.string(),
      hint: z.string().optional(),
      field: z.string().optional(),
      hold: z.string().optional(),
      url: z.string().optional(),
    }),
  })
  .meta({ id: 'Error' });

export type ErrorBody = z.infer<typeof errorBody>;
