import { useQueryClient } from '@tanstack/react-query';
import type { RequestView } from '#contract/views.ts';
import { Ceremony } from '../ceremony/ceremony.tsx';

/** The ceremony of an approval. */
export function Approve({ request, onClose }: { readonly request: RequestView; readonly onClose: () => void }) {
  const queryClient = useQueryClient();
  return (
    <Ceremony
      ask={{ purpose: 'approve_request', request: request.id }}
      title="Approve this request"
      onDone={(done) => {
        queryClient.setQueryData(['request', request.id], done.request);
        onClose();
      }}
      onClose={onClose}
    />
  );
}
