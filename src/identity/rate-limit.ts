/**
 * How often somebody may try. A token bucket for each (what, key): so many at once, then one each so often. Buckets are
 * in memory and bounded per `what` (the one used longest ago is forgotten first, which gives it a full bucket again), so
 * a flood of addresses can't push out the buckets of principals. What is guarded is expensive or guessable by number,
 * not secret by number: every secret here has 256 bits, or is a passkey.
 */
import type { Clock, Duration, Instant } from '#core/instant.ts';
import { seconds } from '#core/instant.ts';

export type Rule = {
  /** So many at once. */
  readonly burst: number;
  /** Then one each so often. */
  readonly every: Duration;
};

export const rateRules = {
  /** Starting or finishing a sign-in, by client address. */
  sign_in_address: { burst: 60, every: seconds(2) },
  /** Finishing a sign-in, by principal: a failing passkey is no reason to hammer. */
  sign_in_principal: { burst: 20, every: seconds(10) },
  /** Looking at or using one-time links, by client address. */
  link: { burst: 30, every: seconds(5) },
  /** The OAuth token and revocation endpoints, by client address. */
  token: { burst: 60, every: seconds(1) },
  /** Consenting to a sign-in of the CLI, by principal. */
  authorization: { burst: 20, every: seconds(15) },
  /** Filing requests, by principal. */
  request_filing: { burst: 30, every: seconds(10) },
  /** Offering and using proofs, by principal. */
  proof: { burst: 60, every: seconds(2) },
  /** Asking what is allowed (AuthZEN), by principal: each answer is judged and logged. A search counts as ten. */
  evaluation: { burst: 150, every: seconds(0.1) },
} as const satisfies Readonly<Record<string, Rule>>;

export type Limited = keyof typeof rateRules;

export type TakeOutcome =
  | { readonly kind: 'allowed' }
  | {
      readonly kind: 'limited';
      /** After which there is room for one again; round up to whole seconds for `Retry-After`. */
      readonly retryAfter: Duration;
    };

export type RateLimits<What extends string = Limited> = {
  /** Takes one from the bucket of the key, or says when there will be one. */
  readonly take: (what: What, key: string) => TakeOutcome;
  /** How many buckets are held, for metrics. */
  readonly size: () => number;
};

/**
 * @param from.rules default: `rateRules`
 * @param from.capacity buckets kept for each `what`; default 10,000 (about 1 MB each)
 */
export function createRateLimits<What extends string = Limited>(from: {
  readonly clock: Clock;
  readonly rules?: Readonly<Record<What, Rule>>;
  readonly capacity?: number;
}): RateLimits<What> {
  const rules = (from.rules ?? rateRules) as Readonly<Record<What, Rule>>;
  const capacity = from.capacity ?? 10_000;
  // A bucket is kept as the instant at which it is full again: one number says all (the generic cell rate algorithm).
  const fullAt = new Map<What, Map<string, Instant>>();

  const bucketsOf = (what: What): Map<string, Instant> => {
    const known = fullAt.get(what);
    if (known !== undefined) return known;
    const made = new Map<string, Instant>();
    fullAt.set(what, made);
    return made;
  };

  return {
    take(what, key) {
      const { burst, every } = rules[what];
      const buckets = bucketsOf(what);
      const now = from.clock.now();
      const next = Math.max(buckets.get(key) ?? now, now) + every;
      const tooFar = next - (now + burst * every);
      if (tooFar > 0) return { kind: 'limited', retryAfter: tooFar as Duration };
      // Deleting first puts the key at the end of the order in which a Map keeps its keys: the start is used least lately.
      buckets.delete(key);
      buckets.set(key, next as Instant);
      if (buckets.size > capacity) {
        const oldest = buckets.keys().next();
        if (oldest.done !== true) buckets.delete(oldest.value);
      }
      return { kind: 'allowed' };
    },
    size: () => [...fullAt.values()].reduce((sum, buckets) => sum + buckets.size, 0),
  };
}

/**
 * The key of a client address. An IPv6 subscriber has a /64 at least, so a single address of it means nothing; an IPv4
 * address that came in over an IPv6 socket is the IPv4 address.
 */
export function addressKey(address: string): string {
  const plain = address.split('%')[0] ?? '';
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i.exec(plain);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.toLowerCase().split('::');
  const before = head === '' ? [] : head.split(':');
  const behind = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - behind.length);
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...behind];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
