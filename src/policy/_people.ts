/** Circumstances in which a policy that lets anybody do something would let them: what is denied in all of them is denied for good. */
import type { Approvers, Decision } from '#core/decision.ts';
import { after, days, hours, minutes, type Duration, type Instant } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { Compiled } from './_compile.ts';
import type { Circumstances } from './question.ts';

/** 2026-01-05, a Monday. */
const monday = 1_767_571_200_000 as Instant;

/** In working hours and outside, from each network and from elsewhere; by a device, a sign-in and a key without reproach. */
export function favourable({ configuration, isWorkingHour }: Compiled): readonly (Circumstances & {
  readonly client: { readonly address: string; readonly tls: boolean };
})[] {
  const week = Array.from({ length: 7 * 48 }, (_, i) => after(monday, (i * minutes(30)) as Duration));
  const at = [week.find(isWorkingHour), week.find((instant) => !isWorkingHour(instant))];
  const networks = Object.values(configuration.networks ?? {}).map(([first = '']) => first.split('/')[0] ?? '');
  return at
    .filter((now) => now !== undefined)
    .flatMap((now) =>
      [...networks, '127.0.0.1', '192.0.2.1'].map((address) => ({
        now,
        client: { address, tls: true },
        device: { known: true, age: days(3650) },
        signIn: { method: 'passkey', age: hours(0) },
        oldestAuthenticator: days(3650),
      })),
    );
}

export const isPerson = ({ kind, state }: Principal): boolean => kind === 'user' && state === 'active';

/** How many of these people could approve; one person counts once. */
export function reachable({ by }: Approvers, people: readonly Principal[], except?: Principal): number {
  return people.filter(
    (person) =>
      isPerson(person) &&
      person.id !== except?.id &&
      by.some((of) => ('group' in of ? person.groups.includes(of.group) : person.handle === of.handle)),
  ).length;
}

/** Allowed, or denied with cures that there are people for. INVARIANT 2: nobody is their own approver. */
export function isObtainable(decision: Decision, principal: Principal, people: readonly Principal[]): boolean {
  if (decision.kind !== 'curable') return decision.kind === 'allow';
  return decision.cures.every((cure) => {
    const approvers = cure.kind === 'approval' ? cure : cure.kind === 'preview' ? cure.approvers : undefined;
    return approvers === undefined || reachable(approvers, people, principal) >= approvers.count;
  });
}
