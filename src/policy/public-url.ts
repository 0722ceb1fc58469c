/** The address that people open, and that passkeys are bound to. */
import { isHost, isNetwork } from './address.ts';

export type PublicUrlRefused = { readonly refused: string; readonly help?: string };

export function readPublicUrl(text: string): { readonly origin: string; readonly rpId: string } | PublicUrlRefused {
  const url = URL.parse(text);
  const help = 'for example `https://sally.example.com`; for this machine alone, `http://localhost:7700`';
  if (url === null) return { refused: `\`${text}\` is not a URL`, help };
  if (url.username !== '' || url.password !== '') return { refused: 'it must not contain a user name or a password' };
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    return { refused: `\`${text}\` has more than a scheme, a host and a port`, help };
  const host = url.hostname;
  if (isNetwork(host.replace(/^\[(.*)\]$/, '$1')))
    return { refused: `\`${host}\` is an address, and passkeys need a name`, help };
  if (!isHost(host)) return { refused: `\`${host}\` is not a host name`, help };
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && host === 'localhost'))
    return {
      refused: `\`${text}\` must begin with \`https://\``,
      help: 'browsers allow passkeys over http on `localhost` only',
    };
  return { origin: url.origin, rpId: host };
}
