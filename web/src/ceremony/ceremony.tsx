/**
 * The ceremony: what is about to be signed, in exactly the server's words, and one button that calls the passkey.
 * Everything that needs a proof goes through here, so it looks and behaves the same everywhere.
 */
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useId, useRef } from 'react';
import { ApiError } from '#contract/client.ts';
import type { ProofAsk, ProofDone, ProofOffer } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { useNow } from '../format/use-now.ts';
import { timeLeftText } from '../format/duration.ts';
import { Button } from '../ui/button.tsx';
import { ErrorNotice, Loading, Notice } from '../ui/notice.tsx';
import { signOffer } from './passkey.ts';
import { Words } from './words.tsx';

type DoneFor<P extends ProofAsk['purpose']> = Extract<ProofDone, { readonly purpose: P }>;

export function Ceremony<P extends ProofAsk['purpose']>(props: {
  readonly ask: Extract<ProofAsk, { readonly purpose: P }>;
  /** What it does, as a heading: `Approve this request`. */
  readonly title: string;
  readonly onDone: (done: DoneFor<P>) => void;
  readonly onClose: () => void;
}) {
  const { ask, title, onDone, onClose } = props;
  const api = useApi();
  const queryClient = useQueryClient();
  const headingId = useId();
  const heading = useRef<HTMLHeadingElement>(null);
  const offer = useQuery({
    queryKey: ['offer', ask],
    queryFn: ({ signal }) => api.offerProof({ body: ask }, signal),
    staleTime: Infinity,
    gcTime: 0,
    retry: false,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
  const sign = useMutation({
    mutationFn: (shown: ProofOffer) => signOffer(api, shown),
    onSuccess: async (done) => {
      // The server does what the object says, and says which act it was.
      if (done.purpose === ask.purpose) onDone(done as DoneFor<P>);
      await queryClient.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] !== 'offer' });
    },
  });
  useEffect(() => heading.current?.focus(), []);

  const again = () => {
    sign.reset();
    void offer.refetch();
  };
  // Cancelled prompts and lost connections leave the offer good; a refused or outdated one is used up.
  const isUsedUp = sign.error instanceof ApiError && sign.error.code !== 'too_many_tries';
  return (
    <section
      aria-labelledby={headingId}
      className="fade-in flex flex-col gap-5 rounded-xl border-2 border-accent/60 bg-card p-5 sm:p-6"
    >
      <div>
        <h2 id={headingId} ref={heading} tabIndex={-1} className="text-lg font-semibold outline-none">
          {title}
        </h2>
        <p className="mt-1 text-sm text-soft">
          You sign exactly this with your passkey. What you sign is kept in the log with your signature.
        </p>
      </div>
      {offer.error !== null && <ErrorNotice error={offer.error} onRetry={again} />}
      {offer.data === undefined && offer.error === null && <Loading lines={2} label="Loading what you sign" />}
      {offer.data !== undefined && offer.error === null && (
        <Offered
          offer={offer.data}
          error={sign.error}
          canSign={!isUsedUp && !offer.isFetching}
          isSigning={sign.isPending}
          onSign={() => sign.mutate(offer.data)}
          onAgain={again}
          onClose={onClose}
        />
      )}
      {offer.data === undefined && (
        <div>
          <Button look="quiet" onClick={onClose}>
            Not now
          </Button>
        </div>
      )}
    </section>
  );
}

function Offered(props: {
  readonly offer: ProofOffer;
  readonly error: unknown;
  readonly canSign: boolean;
  readonly isSigning: boolean;
  readonly onSign: () => void;
  readonly onAgain: () => void;
  readonly onClose: () => void;
}) {
  const { offer, error, canSign, isSigning, onSign, onAgain, onClose } = props;
  const now = useNow(1000);
  const left = (Date.parse(offer.expiresAt) - now) / 1000;
  const isOver = left <= 0 && !isSigning;
  const plain = offer.words.filter((word) => !word.technical);
  const technical = offer.words.filter((word) => word.technical);
  return (
    <>
      <div className="rounded-lg bg-sunken p-4">
        <Words words={plain} />
      </div>
      <details className="text-sm">
        <summary className="w-fit text-soft hover:text-ink">
          {technical.length > 0 ? 'Also signed: ids, hashes and the exact object' : 'The exact object and its hash'}
        </summary>
        <div className="mt-3 flex flex-col gap-4 rounded-lg bg-sunken p-4">
          {technical.length > 0 && <Words words={technical} small />}
          <Words words={[{ label: 'Challenge', value: offer.challenge }]} small />
          <pre aria-label="Signed object" tabIndex={0} className="overflow-x-auto font-mono text-xs leading-relaxed">
            {JSON.stringify(offer.object, undefined, 2)}
          </pre>
        </div>
      </details>
      {error !== null && <ErrorNotice error={error} />}
      {isOver && error === null && (
        <Notice tone="warn" title="This ran out of time">
          An offer is good for a few minutes only. Nothing was signed.
        </Notice>
      )}
      <div className="flex flex-wrap items-start gap-2">
        {isOver || !canSign ? (
          <Button look="primary" onClick={onAgain}>
            Show it again
          </Button>
        ) : (
          <Button look="primary" onClick={onSign} busy={isSigning && 'Waiting for your passkey…'}>
            Sign with passkey
          </Button>
        )}
        <Button look="quiet" onClick={onClose}>
          Not now
        </Button>
        {!isOver && canSign && left < 120 && (
          <span className="self-center text-sm text-soft tabular-nums">{timeLeftText(left)} left to sign</span>
        )}
      </div>
    </>
  );
}
