import { useState } from 'react';
import { Button } from './button.tsx';

/** Text to take elsewhere, with a button that copies it. */
export function Copyable(props: {
  readonly text: string;
  /** What is copied, as in `Copy connect command`. */
  readonly what: string;
  readonly secret?: boolean;
}) {
  const { text, what } = props;
  const [state, setState] = useState<'idle' | 'copied' | 'failed'>('idle');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setState('copied');
    } catch {
      setState('failed');
    }
    setTimeout(() => setState('idle'), 2500);
  };
  return (
    <div className="flex items-stretch gap-2">
      <code
        aria-label={what}
        className="flex min-h-10 min-w-0 flex-1 items-center overflow-x-auto rounded-lg bg-sunken px-3 py-2 font-mono text-sm whitespace-pre"
        tabIndex={0}
      >
        {text}
      </code>
      <Button label={`Copy ${what}`} onClick={() => void copy()}>
        <span aria-live="polite">{state === 'copied' ? 'Copied' : state === 'failed' ? 'Select it' : 'Copy'}</span>
      </Button>
    </div>
  );
}
