/** An error as a person reads it: what happened, and what would help where we know. */
import { ApiError } from '#contract/client.ts';

export type ErrorWords = { readonly title: string; readonly help: string | undefined };

export function errorWords(error: unknown): ErrorWords {
  if (error instanceof ApiError) {
    if (error.code === 'not_found')
      return { title: 'There is nothing here', help: 'It does not exist, or it is not yours to see.' };
    if (error.code === 'unavailable')
      return { title: 'Sallyport is not answering as it should', help: 'It is starting or stopping. Try again soon.' };
    return { title: sentence(error.message), help: error.hint === undefined ? undefined : sentence(error.hint) };
  }
  if (error instanceof DOMException || (error instanceof Error && error.name === 'NotAllowedError'))
    return passkeyWords(error.name, error.message);
  if (error instanceof TypeError)
    return { title: 'Sallyport can’t be reached', help: 'Look at your connection, then try again.' };
  return { title: error instanceof Error ? sentence(error.message) : 'Something went wrong', help: undefined };
}

function passkeyWords(name: string, message: string): ErrorWords {
  if (name === 'NotAllowedError' || name === 'AbortError')
    return { title: 'No passkey was used', help: 'The browser’s prompt was closed or ran out. Nothing was signed.' };
  if (name === 'InvalidStateError')
    return { title: 'This device already has a passkey for you', help: 'Use that one, or another device.' };
  return { title: 'The passkey could not be used', help: sentence(message) };
}

/** Messages are lower case without a full stop; on a page they are sentences. Backticks stay: they mark what was given. */
function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}
