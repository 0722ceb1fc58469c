import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import type { GrantView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { Button } from '../ui/button.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { TextField } from '../ui/field.tsx';
import { ErrorNotice } from '../ui/notice.tsx';

/** Hands back one's own grant or revokes somebody's, after a question. */
export function EndGrant({ grant, isMine }: { readonly grant: GrantView; readonly isMine: boolean }) {
  const api = useApi();
  const queryClient = useQueryClient();
  const [isOpen, setOpen] = useState(false);
  const [word, setWord] = useState('');
  const end = useMutation({
    mutationFn: () => api.endGrant({ params: { id: grant.id }, body: word.trim() === '' ? {} : { word: word.trim() } }),
    onSuccess: async (ended) => {
      queryClient.setQueryData(['grant', grant.id], ended);
      setOpen(false);
      await queryClient.invalidateQueries();
    },
  });
  if (!grant.you.mayEnd) return null;
  const act = isMine ? 'Hand back' : 'Revoke';
  const sessions = grant.openSessions;
  return (
    <div>
      <Button look="danger" onClick={() => setOpen(true)}>
        {act}
      </Button>
      <Confirm
        open={isOpen}
        title={isMine ? 'Hand back this grant?' : `Revoke ${grant.principal.handle}’s grant?`}
        act={isMine ? 'Hand back now' : 'Revoke now'}
        busy={end.isPending && (isMine ? 'Handing back…' : 'Revoking…')}
        onAct={() => end.mutate()}
        onClose={() => setOpen(false)}
      >
        <p>
          {grant.role} ends now and does not come back.{' '}
          {sessions > 0 &&
            `${sessions} open ${sessions === 1 ? 'session is' : 'sessions are'} cut, with what ${sessions === 1 ? 'it is' : 'they are'} doing. `}
          Other grants stay as they are.
        </p>
        {!isMine && (
          <TextField
            label="Why?"
            optional
            value={word}
            onChange={setWord}
            maxLength={500}
            help={`${grant.principal.handle} sees this where the session is cut.`}
          />
        )}
        {end.error !== null && <ErrorNotice error={end.error} />}
      </Confirm>
    </div>
  );
}
