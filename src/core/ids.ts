/**
 * Branded identifiers. An id is a prefix that names its kind, `_`, and 26 characters of Crockford base32: 48 bits of
 * milliseconds and 80 random bits, so that ids sort by age (the layout of a ULID) and can't be guessed.
 */
import type { Instant } from './instant.ts';

declare const brand: unique symbol;
type Id<Kind extends string> = string & { readonly [brand]: Kind };

export type PrincipalId = Id<'principal'>;
export type AuthenticatorId = Id<'authenticator'>;
export type LinkId = Id<'link'>;
export type RequestId = Id<'request'>;
export type ApprovalId = Id<'approval'>;
export type GrantId = Id<'grant'>;
export type SessionId = Id<'session'>;
export type ProofId = Id<'proof'>;
export type EntryId = Id<'entry'>;
export type CredentialId = Id<'credential'>;
export type PlanId = Id<'plan'>;
export type TokenId = Id<'token'>;
export type HoldId = Id<'hold'>;
export type CoverId = Id<'cover'>;
export type DenialId = Id<'denial'>;
/** A resource is known by its name, which the configuration gives it. */
export type ResourceName = string & { readonly [brand]: 'resource' };
/** `resource/role`, as in `orders/support-read`. */
export type RoleName = string & { readonly [brand]: 'role' };

const prefixes = {
  principal: 'usr',
  authenticator: 'key',
  link: 'lnk',
  request: 'req',
  approval: 'apr',
  grant: 'grt',
  session: 'ses',
  proof: 'prf',
  entry: 'ent',
  credential: 'crd',
  plan: 'pln',
  token: 'tok',
  hold: 'hld',
  cover: 'cov',
  denial: 'den',
} as const;

type IdKinds = {
  principal: PrincipalId;
  authenticator: AuthenticatorId;
  link: LinkId;
  request: RequestId;
  approval: ApprovalId;
  grant: GrantId;
  session: SessionId;
  proof: ProofId;
  entry: EntryId;
  credential: CredentialId;
  plan: PlanId;
  token: TokenId;
  hold: HoldId;
  cover: CoverId;
  denial: DenialId;
};

export type IdKind = keyof IdKinds;

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const body = /^[0-9a-hjkmnp-tv-z]{26}$/;
const resourceName = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

/** Random bytes, given from outside so that tests can repeat a run. */
export type Random = (length: number) => Uint8Array;

/** A new id of the given kind; `now` is its first 48 bits. */
export function newId<K extends IdKind>(kind: K, from: { readonly now: Instant; readonly random: Random }): IdKinds[K] {
  let time = Number(from.now);
  const head = Array.from<string>({ length: 10 });
  for (let i = 9; i >= 0; i -= 1) {
    head[i] = alphabet.charAt(time % 32);
    time = Math.floor(time / 32);
  }
  let tail = '';
  // 16 characters of 5 bits; the low five bits of a random byte are uniform.
  for (const byte of from.random(16)) tail += alphabet.charAt(byte & 31);
  return `${prefixes[kind]}_${head.join('')}${tail}` as IdKinds[K];
}

/** The id, or undefined when the text is not one of that kind. One spelling only: lower case, right prefix, full length. */
export function parseId<K extends IdKind>(kind: K, text: unknown): IdKinds[K] | undefined {
  if (typeof text !== 'string') return undefined;
  const prefix = `${prefixes[kind]}_`;
  if (!text.startsWith(prefix) || !body.test(text.slice(prefix.length))) return undefined;
  return text as IdKinds[K];
}

/** Lower-case words joined by hyphens, 1 to 63 characters. */
export function parseResourceName(text: unknown): ResourceName | undefined {
  return typeof text === 'string' && text.length <= 63 && resourceName.test(text) ? (text as ResourceName) : undefined;
}

/** `resource/role`, both parts spelled as resource names are. */
export function parseRoleName(text: unknown): RoleName | undefined {
  if (typeof text !== 'string') return undefined;
  const [resource, role, ...rest] = text.split('/');
  if (rest.length > 0 || parseResourceName(resource) === undefined || parseResourceName(role) === undefined)
    return undefined;
  return text as RoleName;
}

/** The resource a role is on. */
export function resourceOf(role: RoleName): ResourceName {
  return role.slice(0, role.indexOf('/')) as ResourceName;
}
