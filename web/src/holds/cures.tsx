import type { HoldView } from '#contract/views.ts';
import { Ago } from '../ui/time.tsx';
import { durationText } from '../format/duration.ts';

/** What would let it through, what of it is there, and who signed. */
export function Cures({ hold }: { readonly hold: HoldView }) {
  return (
    <div className="flex flex-col gap-3">
      <ul aria-label="What it needs" className="flex flex-col gap-2">
        {hold.cures.map(({ words, policy, done }) => (
          <li key={`${policy} ${words}`} className="flex items-baseline gap-3">
            <span aria-hidden className={done ? 'text-accent' : 'text-faint'}>
              {done ? '✓' : '○'}
            </span>
            <span>
              {words}
              <span className="sr-only">{done ? ': done' : ': still missing'}</span>
              <span className="block text-sm text-soft">
                asked for by <span className="font-mono text-xs">{policy}</span>
              </span>
            </span>
          </li>
        ))}
      </ul>
      {hold.signatures.map(({ by, kind, at, rowsAtMost, validSeconds }) => (
        <p key={`${by.id} ${kind} ${at}`} className="text-sm text-soft">
          {kind === 'proof' ? 'Proven' : 'Approved'} by {by.handle}, with a passkey, <Ago at={at} />
          {rowsAtMost !== null &&
            `, for ${rowsAtMost.toLocaleString('en')} ${rowsAtMost === 1 ? 'row' : 'rows'} at most`}
          {validSeconds !== null && `, for ${durationText(validSeconds)}`}
        </p>
      ))}
      {hold.covers.map((words) => (
        <p key={words} className="text-sm text-soft">
          {words}
        </p>
      ))}
    </div>
  );
}
