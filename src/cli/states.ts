/** How states look in lists. */
import type { GrantView, HoldView, RequestView } from '#contract/views.ts';
import type { Cell } from './screen.ts';
import { left, relative } from './times.ts';

export function requestStateCell(state: RequestView['state']): Cell {
  switch (state) {
    case 'pending':
      return { text: state, colour: 'yellow' };
    case 'approved':
      return { text: state, colour: 'green' };
    case 'denied':
      return { text: state, colour: 'red' };
    case 'withdrawn':
    case 'expired':
      return { text: state, colour: 'dim' };
  }
}

export function grantStateCell(grant: GrantView): Cell {
  switch (grant.state) {
    case 'approved':
      return { text: 'approved', colour: 'yellow' };
    case 'active':
      return { text: 'active', colour: 'green' };
    case 'ended':
      return { text: wordOfEnd(grant.how), colour: 'dim' };
  }
}

/** What a grant's clock says: what is left, until when to activate, or since when it is over. */
export function grantTimeCell(grant: GrantView, now: number): Cell {
  switch (grant.state) {
    case 'approved':
      return Date.parse(grant.notBefore) > now
        ? `starts ${relative(grant.notBefore, now)}`
        : `activate within ${left(grant.activateBy, now)}`;
    case 'active':
      return grant.endsAt === null ? '' : `${left(grant.endsAt, now)} left`;
    case 'ended':
      return grant.endedAt === null ? '' : { text: relative(grant.endedAt, now), colour: 'dim' };
  }
}

export function wordOfEnd(how: GrantView['how']): string {
  return how === null ? 'ended' : how.replace('_', ' ');
}

/** Whether it still waits, and for how long. */
export const isLiveHold = ({ state }: HoldView): boolean => state === 'waiting' || state === 'cured';

export function holdStateCell(hold: HoldView, now: number): Cell {
  switch (hold.state) {
    case 'waiting':
      return { text: `waiting, ${left(hold.expiresAt, now)} left`, colour: 'yellow' };
    case 'cured':
      return { text: 'cured', colour: 'green' };
    case 'released':
      return { text: 'let through', colour: 'green' };
    case 'denied':
      return { text: 'denied', colour: 'red' };
    case 'withdrawn':
    case 'expired':
    case 'ended':
      return { text: hold.state, colour: 'dim' };
    default:
      return hold.state satisfies never;
  }
}
