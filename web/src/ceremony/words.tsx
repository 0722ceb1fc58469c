import type { ProofOffer } from '#contract/views.ts';
import { Exact } from '../ui/exact.tsx';

/** What was typed by somebody, and is shown as they typed it. */
const verbatim = new Set(['Statement', 'Parameters']);

type Word = Pick<ProofOffer['words'][number], 'label' | 'value'>;

/** The words of an offer, exactly as they came: every label and every value, line breaks kept, what can’t be seen shown. */
export function Words({ words, small }: { readonly words: readonly Word[]; readonly small?: boolean }) {
  return (
    <dl className="grid grid-cols-1 gap-x-6 gap-y-3 sm:grid-cols-[11rem_1fr] sm:items-baseline">
      {words.map(({ label, value }, index) => (
        <div key={index} className="contents">
          <dt className="text-sm text-soft">{label}</dt>
          <dd
            className={
              small === true
                ? '-mt-2.5 min-w-0 font-mono text-xs break-all whitespace-pre-wrap sm:mt-0'
                : verbatim.has(label)
                  ? '-mt-2.5 min-w-0 font-mono text-sm break-words whitespace-pre-wrap sm:mt-0'
                  : '-mt-2.5 min-w-0 font-medium break-words whitespace-pre-wrap sm:mt-0'
            }
          >
            <Exact text={value} />
          </dd>
        </div>
      ))}
    </dl>
  );
}
