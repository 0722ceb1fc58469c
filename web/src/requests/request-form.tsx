import { Checkbox } from '@base-ui/react/checkbox';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import type { RoleView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { durationText, parseDurationText } from '../format/duration.ts';
import { Button } from '../ui/button.tsx';
import { TextField } from '../ui/field.tsx';
import { ErrorNotice, Notice } from '../ui/notice.tsx';
import { DurationChoice, durationsUpTo } from './duration-choice.tsx';

/** How long, why, and from when. */
export function RequestForm({ role }: { readonly role: RoleView }) {
  const api = useApi();
  const queryClient = useQueryClient();
  const navigate = useNavigate();
  const [choice, setChoice] = useState(() => String(Math.min(3600, durationsUpTo(role.maxSeconds).at(-1) ?? 3600)));
  const [other, setOther] = useState('');
  const [reason, setReason] = useState('');
  const [ticket, setTicket] = useState('');
  const [isLater, setLater] = useState(false);
  const [start, setStart] = useState('');

  const seconds = choice === 'other' ? parseDurationText(other) : Number(choice);
  const otherFault =
    choice !== 'other' || other === ''
      ? undefined
      : seconds === undefined
        ? 'That is not a duration.'
        : seconds > role.maxSeconds
          ? `The role allows ${durationText(role.maxSeconds)} at most.`
          : undefined;
  // datetime-local is in the reader's own time zone, and so is what `new Date` makes of it.
  const startsAt = isLater && start !== '' ? new Date(start) : undefined;
  const missing =
    seconds === undefined || otherFault !== undefined
      ? 'Say for how long.'
      : reason.trim().length < 3
        ? 'Say why.'
        : isLater && startsAt === undefined
          ? 'Say from when.'
          : undefined;

  const file = useMutation({
    mutationFn: () =>
      api.fileRequest({
        body: {
          role: role.role,
          seconds: seconds ?? 0,
          reason: reason.trim(),
          ...(ticket.trim() === '' ? {} : { ticket: ticket.trim() }),
          ...(startsAt === undefined ? {} : { startsAt: startsAt.toISOString() }),
        },
      }),
    onSuccess: async (request) => {
      await navigate({ to: '/requests/$id', params: { id: request.id } });
      await queryClient.invalidateQueries();
    },
  });
  return (
    <form
      className="flex flex-col gap-6"
      onSubmit={(event) => {
        event.preventDefault();
        if (missing === undefined && !file.isPending) file.mutate();
      }}
    >
      {role.pendingRequest !== null && (
        <Notice tone="warn" title="You have asked for this role already">
          <Link to="/requests/$id" params={{ id: role.pendingRequest }} className="underline underline-offset-2">
            See the pending request
          </Link>
        </Notice>
      )}
      <DurationChoice
        maxSeconds={role.maxSeconds}
        choice={choice}
        other={other}
        otherFault={otherFault}
        onChoice={setChoice}
        onOther={setOther}
      />
      <TextField
        label="Reason"
        value={reason}
        onChange={setReason}
        rows={3}
        maxLength={1000}
        help="What you are about to do, in words that the approver understands. It is part of what they sign."
      />
      <TextField label="Ticket" optional value={ticket} onChange={setTicket} maxLength={100} placeholder="INC-4211" />
      <div className="flex flex-col gap-3">
        <label className="flex w-fit cursor-pointer items-center gap-2.5 text-sm">
          <Checkbox.Root
            checked={isLater}
            onCheckedChange={(checked) => setLater(checked)}
            className="flex size-5 items-center justify-center rounded border border-strong-line bg-card data-[checked]:border-accent data-[checked]:bg-accent"
          >
            <Checkbox.Indicator className="text-xs leading-none font-bold text-on-accent">✓</Checkbox.Indicator>
          </Checkbox.Root>
          Start later
        </label>
        {isLater && (
          <TextField
            label="Not before"
            type="datetime-local"
            value={start}
            onChange={setStart}
            help="In your own time zone. You can’t activate the grant before then."
          />
        )}
      </div>
      {file.error !== null && <ErrorNotice error={file.error} />}
      <div>
        <Button type="submit" look="primary" disabledBecause={missing} busy={file.isPending && 'Sending…'}>
          Send request
        </Button>
      </div>
    </form>
  );
}
