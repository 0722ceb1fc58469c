/**
 * What a client is told of a target that could not be reached, or did not let us in: what it is, in words that help, and
 * never an address, a name of ours or what the server said (INVARIANT 10). Errors may have come from another thread, so
 * they are known by their fields and not by their classes.
 */
import type { AuthorizedSession } from '#core/session.ts';

export type TargetTrouble = {
  readonly sqlState: string;
  readonly message: string;
  readonly hint: string | undefined;
  /** The target may not know the login, or know another password of it: it has to be made anew. */
  readonly isLoginInDoubt: boolean;
};

const operator = 'The operator of the gateway can see why.';
const later = 'Try again in a while.';

/** @param error what opening a connection to the target has thrown */
export function explainTargetTrouble(error: unknown, role: AuthorizedSession['role']): TargetTrouble {
  const { codes, words } = facts(error);
  const target = `\`${role.resource}\``;
  const tell = (message: string, hint: string, sqlState = '08006'): TargetTrouble => ({
    sqlState,
    message: `sallyport: ${message}`,
    hint,
    isLoginInDoubt: false,
  });
  const said = codes.find((code) => /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code));
  switch (said) {
    case '53300':
      return /too many connections for role/.test(words)
        ? tell(`too many connections at once under \`${role.name}\``, 'Close one of the others.', said)
        : tell(`${target} has no connection left for anybody`, later, said);
    case '57P03':
      return tell(`${target} takes no connections at the moment: it starts, stops or recovers`, later, said);
    case '57P01':
    case '57P02':
      return tell(`${target} is stopping`, later, '57P03');
    case '53100':
      return tell(`the disk of ${target} is full`, operator, said);
    case '25006':
      return tell(`${target} is read-only: it may be a standby, where no login can be made`, operator);
    case '28P01':
    case '28000':
      return { ...tell(`${target} did not let the gateway in`, operator), isLoginInDoubt: true };
    case '42501':
      return tell(`the gateway may not make logins on ${target}`, operator);
    case '55P03':
    case '57014':
      return tell(`${target} is held up by a lock`, later);
    default:
  }
  if (codes.includes('role_refused'))
    return tell(`\`${role.name}\` runs as a database role of ${target} that it may not be`, operator);
  if (codes.includes('ECONNREFUSED')) return tell(`${target} is down: it refuses connections`, later);
  if (codes.some((code) => ['ENOTFOUND', 'EAI_AGAIN'].includes(code)))
    return tell(`the address of ${target} can not be found`, operator);
  if (codes.some((code) => certificateCodes.test(code)))
    return tell(`the certificate of ${target} can not be verified, so nothing was sent to it`, operator);
  if (
    codes.some((code) => ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ABORT_ERR'].includes(code)) ||
    late.test(words)
  )
    return tell(`${target} does not answer`, later);
  return { ...tell(`no connection to ${target} could be opened`, operator), isLoginInDoubt: said === undefined };
}

/** Of OpenSSL's verification (X509_V_ERR_…), as Node names them, and of Node's own check of the name. */
const certificateCodes = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/;
const late = /time-?out|timed out|in time/i;

function facts(error: unknown): { readonly codes: readonly string[]; readonly words: string } {
  const codes: string[] = [];
  const words: string[] = [];
  let at: unknown = error;
  for (let depth = 0; depth < 6 && typeof at === 'object' && at !== null; depth += 1) {
    const one = at as { readonly [field: string]: unknown };
    for (const value of [one['sqlState'], one['code'], one['name'] === 'TimeoutError' ? 'ETIMEDOUT' : undefined])
      if (typeof value === 'string') codes.push(value);
    if (typeof one['message'] === 'string') words.push(one['message']);
    // Several addresses of one name, each with its own error.
    at = one['cause'] ?? (Array.isArray(one['errors']) ? one['errors'][0] : undefined);
  }
  return { codes, words: words.join('; ') };
}
