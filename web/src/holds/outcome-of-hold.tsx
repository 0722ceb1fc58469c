import type { HoldView } from '#contract/views.ts';
import { Notice } from '../ui/notice.tsx';
import { Ago } from '../ui/time.tsx';

/** What has become of it, in a sentence. Nothing while it waits. */
export function OutcomeOfHold({ hold }: { readonly hold: HoldView }) {
  const { settled, state, subject } = hold;
  const by = settled?.by?.handle;
  const word = settled?.word ?? null;
  const when = settled === null ? null : <Ago at={settled.at} />;
  const isStatement = subject === 'statement';
  switch (state) {
    case 'waiting':
      return null;
    case 'cured':
      return (
        <Notice tone="good" title="Everything is there">
          {isStatement ? 'It is run where it was typed.' : 'It can be carried out now.'}
        </Notice>
      );
    case 'released':
      return (
        <Notice tone="good" title={isStatement ? 'Let through: it ran where it was typed' : 'Carried out'}>
          {when}
        </Notice>
      );
    case 'denied':
      return (
        <Notice tone="bad" title={by === undefined ? 'Denied' : `Denied by ${by}`}>
          {word !== null && <span className="whitespace-pre-wrap">“{word}” · </span>}
          {when}
        </Notice>
      );
    case 'withdrawn':
      return (
        <Notice title={`Given up${by === undefined ? '' : ` by ${by}`}`}>
          {word !== null && `${word} · `}
          {when}
        </Notice>
      );
    case 'expired':
      return <Notice title="Nobody signed in time">{isStatement ? 'It was not run.' : when}</Notice>;
    case 'ended':
      return <Notice title="Its session or its grant ended">{when}</Notice>;
    default:
      return state satisfies never;
  }
}
