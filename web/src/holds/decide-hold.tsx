import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import type { HoldView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { TextField } from '../ui/field.tsx';
import { ErrorNotice } from '../ui/notice.tsx';
import { isLive } from './hold-words.ts';

export type Signing = { readonly as: 'owner' } | { readonly as: 'approver'; readonly conditions: Conditions };
export type Conditions = { readonly rowsAtMost?: number; readonly validSeconds?: number };

/** What can be done with something held: sign it, approve it, deny it with a word, let it go, say why. */
export function DecideHold({ hold, onSign }: { readonly hold: HoldView; readonly onSign: (as: Signing) => void }) {
  const [doing, setDoing] = useState<'nothing' | 'denying' | 'withdrawing' | 'reasoning' | 'limiting'>('nothing');
  if (!isLive(hold)) return null;
  const { canProve, canApprove, canDeny, canWithdraw, canGiveReason, isRequester, because } = hold.you;
  const stop = () => setDoing('nothing');
  if (doing === 'denying') return <Deny hold={hold} onClose={stop} />;
  if (doing === 'reasoning') return <GiveReason hold={hold} onClose={stop} />;
  if (doing === 'limiting')
    return <Limits onApprove={(conditions) => onSign({ as: 'approver', conditions })} onClose={stop} />;
  const isStatement = hold.subject === 'statement';
  return (
    <div className="flex flex-col gap-2">
      <div className="flex flex-wrap items-start gap-2">
        {canProve && (
          <Button look="primary" onClick={() => onSign({ as: 'owner' })}>
            {hold.preview === null ? 'Sign and run' : 'Sign and keep it'}
          </Button>
        )}
        {canGiveReason && (
          <Button look={canProve ? 'plain' : 'primary'} onClick={() => setDoing('reasoning')}>
            Say why
          </Button>
        )}
        {canApprove && (
          <>
            <Button look="primary" onClick={() => onSign({ as: 'approver', conditions: {} })}>
              Approve
            </Button>
            {isStatement && <Button onClick={() => setDoing('limiting')}>Approve with limits</Button>}
          </>
        )}
        {canDeny && <Button onClick={() => setDoing('denying')}>Deny</Button>}
        {canWithdraw && <Button onClick={() => setDoing('withdrawing')}>Let it go</Button>}
      </div>
      {because !== null && !canProve && !canApprove && <p className="text-sm text-soft">{because}</p>}
      {isRequester && isStatement && (
        <p className="text-sm text-soft">Ctrl-C where it was typed gives it up as well.</p>
      )}
      <Withdraw hold={hold} open={doing === 'withdrawing'} onClose={stop} />
    </div>
  );
}

function useAct(hold: HoldView, act: () => Promise<HoldView>, onClose: () => void) {
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn: act,
    onSuccess: async (next) => {
      queryClient.setQueryData(['hold', hold.id], next);
      onClose();
      await queryClient.invalidateQueries();
    },
  });
}

type FormProps = { readonly hold: HoldView; readonly onClose: () => void };

function Deny({ hold, onClose }: FormProps) {
  const api = useApi();
  const [word, setWord] = useState('');
  const [endsSession, setEndsSession] = useState(false);
  const body = { word: word.trim(), ...(endsSession ? { endSession: true } : {}) };
  const deny = useAct(hold, () => api.denyHold({ params: { id: hold.id }, body }), onClose);
  const missing = word.trim() === '' ? 'Say a word why.' : undefined;
  return (
    <Card className="fade-in">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (missing === undefined && !deny.isPending) deny.mutate();
        }}
      >
        <TextField
          label="Why not?"
          value={word}
          onChange={setWord}
          rows={2}
          maxLength={500}
          help={`${hold.requester.handle} will read this where it was typed.`}
          autoFocus
        />
        {hold.session !== null && (
          <label className="flex items-center gap-2.5 text-sm">
            <input
              type="checkbox"
              className="size-4 accent-accent"
              checked={endsSession}
              onChange={(event) => setEndsSession(event.target.checked)}
            />
            End the session as well
          </label>
        )}
        {deny.error !== null && <ErrorNotice error={deny.error} />}
        <div className="flex flex-wrap items-start gap-2">
          <Button type="submit" look="danger" disabledBecause={missing} busy={deny.isPending && 'Denying…'}>
            {endsSession ? 'Deny and end the session' : 'Deny'}
          </Button>
          <Button look="quiet" onClick={onClose}>
            Not now
          </Button>
        </div>
      </form>
    </Card>
  );
}

function GiveReason({ hold, onClose }: FormProps) {
  const api = useApi();
  const [reason, setReason] = useState('');
  const give = useAct(
    hold,
    () => api.giveReason({ params: { id: hold.id }, body: { reason: reason.trim() } }),
    onClose,
  );
  const missing = reason.trim().length < 3 ? 'Say in a few words why.' : undefined;
  return (
    <Card className="fade-in">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (missing === undefined && !give.isPending) give.mutate();
        }}
      >
        <TextField
          label="Why this statement?"
          value={reason}
          onChange={setReason}
          rows={2}
          maxLength={1000}
          help="It is kept in the log with the statement."
          autoFocus
        />
        {give.error !== null && <ErrorNotice error={give.error} />}
        <div className="flex flex-wrap items-start gap-2">
          <Button type="submit" look="primary" disabledBecause={missing} busy={give.isPending && 'Sending…'}>
            Give this reason
          </Button>
          <Button look="quiet" onClick={onClose}>
            Not now
          </Button>
        </div>
      </form>
    </Card>
  );
}

/** A whole number above zero, nothing, or undefined for anything else. */
function numberIn(text: string): number | 'none' | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return 'none';
  return /^\d{1,9}$/.test(trimmed) ? Number(trimmed) : undefined;
}

/** The limits of an approval are part of what is signed. */
function Limits(props: { readonly onApprove: (conditions: Conditions) => void; readonly onClose: () => void }) {
  const [rows, setRows] = useState('');
  const [minutes, setMinutes] = useState('');
  const rowsAtMost = numberIn(rows);
  const minutesLeft = numberIn(minutes);
  const isLate = typeof minutesLeft === 'number' && (minutesLeft < 1 || minutesLeft > 1440);
  const fault =
    rowsAtMost === undefined || minutesLeft === undefined || isLate
      ? 'Correct what is marked.'
      : rowsAtMost === 'none' && minutesLeft === 'none'
        ? 'Set a limit, or approve without.'
        : undefined;
  return (
    <Card className="fade-in">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (fault !== undefined) return;
          props.onApprove({
            ...(typeof rowsAtMost === 'number' ? { rowsAtMost } : {}),
            ...(typeof minutesLeft === 'number' ? { validSeconds: minutesLeft * 60 } : {}),
          });
        }}
      >
        <TextField
          label="Rows at most"
          value={rows}
          onChange={setRows}
          help="If it touches more, it is rolled back."
          error={rowsAtMost === undefined ? 'A whole number.' : undefined}
          optional
          autoFocus
        />
        <TextField
          label="Minutes that the approval is good for"
          value={minutes}
          onChange={setMinutes}
          error={minutesLeft === undefined || isLate ? 'From 1 to 1440.' : undefined}
          optional
        />
        <div className="flex flex-wrap items-start gap-2">
          <Button type="submit" look="primary" disabledBecause={fault}>
            Approve with these limits
          </Button>
          <Button look="quiet" onClick={props.onClose}>
            Not now
          </Button>
        </div>
      </form>
    </Card>
  );
}

function Withdraw({ hold, open, onClose }: FormProps & { readonly open: boolean }) {
  const api = useApi();
  const withdraw = useAct(hold, () => api.withdrawHold({ params: { id: hold.id } }), onClose);
  return (
    <Confirm
      open={open}
      title="Let it go?"
      act="Let it go"
      busy={withdraw.isPending && 'Letting go…'}
      onAct={() => withdraw.mutate()}
      onClose={onClose}
    >
      <p>
        {hold.subject === 'statement'
          ? 'The statement does not run, and is told so where it was typed.'
          : 'It goes out of every inbox. You can begin again at any time.'}
      </p>
      {withdraw.error !== null && <ErrorNotice error={withdraw.error} />}
    </Confirm>
  );
}
