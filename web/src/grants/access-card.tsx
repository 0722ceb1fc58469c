import { Link } from '@tanstack/react-router';
import type { GrantView } from '#contract/views.ts';
import { ButtonLink } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { Copyable } from '../ui/copy.tsx';
import { At } from '../ui/time.tsx';
import { TimeLeft } from '../ui/time-left.tsx';
import { durationText } from '../format/duration.ts';

/** One live grant of mine: what it gives, how long still, and how to connect. */
export function AccessCard({ grant }: { readonly grant: GrantView }) {
  return (
    <Card className="flex flex-col gap-4">
      <div className="flex flex-wrap items-baseline justify-between gap-x-4 gap-y-1">
        <h3 className="font-semibold">
          <Link to="/grants/$id" params={{ id: grant.id }} className="rounded hover:underline">
            {grant.role}
          </Link>
        </h3>
        {grant.openSessions > 0 && (
          <span className="text-sm text-soft">
            {grant.openSessions} open {grant.openSessions === 1 ? 'session' : 'sessions'}
          </span>
        )}
      </div>
      {grant.endsAt !== null && <TimeLeft until={grant.endsAt} of={grant.seconds} />}
      <Copyable text={`sally connect ${grant.role}`} what="connect command" />
    </Card>
  );
}

/** A grant that waits for its owner to start the clock. */
export function ToActivateCard({ grant }: { readonly grant: GrantView }) {
  return (
    <Card className="flex flex-wrap items-center justify-between gap-4">
      <div>
        <h3 className="font-semibold">{grant.role}</h3>
        <p className="mt-0.5 text-sm text-soft">
          {durationText(grant.seconds)} from when you activate it · until <At at={grant.activateBy} /> to do so
        </p>
      </div>
      <ButtonLink look="primary" to="/grants/$id" params={{ id: grant.id }} aria-label={`Activate ${grant.role}`}>
        Activate
      </ButtonLink>
    </Card>
  );
}
