import type { GrantView, HoldView, PrincipalView, RequestView, SessionView } from '#contract/views.ts';
import { Badge, type Tone } from './badge.tsx';

const requestTones: Readonly<Record<RequestView['state'], Tone>> = {
  pending: 'warn',
  approved: 'good',
  denied: 'bad',
  withdrawn: 'neutral',
  expired: 'neutral',
};
export const RequestState = ({ state }: { readonly state: RequestView['state'] }) => (
  <Badge tone={requestTones[state]}>{state}</Badge>
);

const holdTones: Readonly<Record<HoldView['state'], Tone>> = {
  waiting: 'warn',
  cured: 'good',
  released: 'good',
  denied: 'bad',
  withdrawn: 'neutral',
  expired: 'neutral',
  ended: 'neutral',
};
export const HoldState = ({ state }: { readonly state: HoldView['state'] }) => (
  <Badge tone={holdTones[state]}>{state === 'released' ? 'let through' : state}</Badge>
);

const ends = { expired: 'expired', revoked: 'revoked', completed: 'completed', handed_back: 'handed back' } as const;

/** How a grant ended, in words. */
export const howEnded = (how: GrantView['how']): string => (how === null ? 'ended' : ends[how]);

export function GrantState({ grant }: { readonly grant: Pick<GrantView, 'state' | 'how'> }) {
  switch (grant.state) {
    case 'approved':
      return <Badge tone="warn">to activate</Badge>;
    case 'active':
      return <Badge tone="good">active</Badge>;
    case 'ended':
      return <Badge tone={grant.how === 'revoked' ? 'bad' : 'neutral'}>{howEnded(grant.how)}</Badge>;
    default:
      return grant.state satisfies never;
  }
}

export const SessionState = ({ state }: { readonly state: SessionView['state'] }) => (
  <Badge tone={state === 'open' ? 'good' : 'neutral'}>{state}</Badge>
);

const personTones: Readonly<Record<PrincipalView['state'], Tone>> = {
  invited: 'warn',
  active: 'good',
  suspended: 'bad',
};
export const PersonState = ({ state }: { readonly state: PrincipalView['state'] }) => (
  <Badge tone={personTones[state]}>{state}</Badge>
);
