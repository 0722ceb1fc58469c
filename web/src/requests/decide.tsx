import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import type { RequestView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { TextField } from '../ui/field.tsx';
import { ErrorNotice, Notice } from '../ui/notice.tsx';

/** What can be done with a pending request: approve with a passkey, deny with a word, or take one's own back. */
export function Decide({ request, onApprove }: { readonly request: RequestView; readonly onApprove: () => void }) {
  const [doing, setDoing] = useState<'nothing' | 'denying' | 'withdrawing'>('nothing');
  if (request.state !== 'pending') return null;
  const { isRequester, mayDecide, because } = request.you;
  const refusal = mayDecide ? undefined : (because ?? 'You are not one of its approvers.');
  const stop = () => setDoing('nothing');

  if (doing === 'denying') return <Deny request={request} onClose={stop} />;
  return (
    <div className="flex flex-col gap-4">
      {request.approvals.length > 0 && (
        <Notice title={`${request.approvals.length} of ${request.approvalsNeeded} approvals are there`}>
          The request waits for the rest.
        </Notice>
      )}
      <div className="flex flex-wrap items-start gap-2">
        {(!isRequester || mayDecide) && (
          <>
            <Button look="primary" disabledBecause={refusal} onClick={onApprove}>
              Approve
            </Button>
            {mayDecide && <Button onClick={() => setDoing('denying')}>Deny</Button>}
          </>
        )}
        {isRequester && (
          <>
            <Button onClick={() => setDoing('withdrawing')}>Withdraw</Button>
            {!mayDecide && <span className="self-center text-sm text-soft">Nobody approves their own request.</span>}
          </>
        )}
      </div>
      <Withdraw request={request} open={doing === 'withdrawing'} onClose={stop} />
    </div>
  );
}

function Deny({ request, onClose }: { readonly request: RequestView; readonly onClose: () => void }) {
  const api = useApi();
  const queryClient = useQueryClient();
  const [word, setWord] = useState('');
  const deny = useMutation({
    mutationFn: () => api.denyRequest({ params: { id: request.id }, body: { word: word.trim() } }),
    onSuccess: async (denied) => {
      queryClient.setQueryData(['request', request.id], denied);
      onClose();
      await queryClient.invalidateQueries();
    },
  });
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
          help={`${request.requester.handle} will read this.`}
          autoFocus
        />
        {deny.error !== null && <ErrorNotice error={deny.error} />}
        <div className="flex flex-wrap items-start gap-2">
          <Button type="submit" look="danger" disabledBecause={missing} busy={deny.isPending && 'Denying…'}>
            Deny request
          </Button>
          <Button look="quiet" onClick={onClose}>
            Not now
          </Button>
        </div>
      </form>
    </Card>
  );
}

function Withdraw(props: { readonly request: RequestView; readonly open: boolean; readonly onClose: () => void }) {
  const { request, open, onClose } = props;
  const api = useApi();
  const queryClient = useQueryClient();
  const withdraw = useMutation({
    mutationFn: () => api.withdrawRequest({ params: { id: request.id } }),
    onSuccess: async (withdrawn) => {
      queryClient.setQueryData(['request', request.id], withdrawn);
      onClose();
      await queryClient.invalidateQueries();
    },
  });
  return (
    <Confirm
      open={open}
      title="Withdraw this request?"
      act="Withdraw request"
      busy={withdraw.isPending && 'Withdrawing…'}
      onAct={() => withdraw.mutate()}
      onClose={onClose}
    >
      <p>It goes out of every inbox. You can ask again at any time.</p>
      {withdraw.error !== null && <ErrorNotice error={withdraw.error} />}
    </Confirm>
  );
}
