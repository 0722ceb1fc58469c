import { Field as Base } from '@base-ui/react/field';
import type { ReactNode } from 'react';
import { cx } from './class.ts';

export const inputClass =
  'w-full min-h-10 rounded-lg border border-strong-line bg-card px-3 py-2 text-base text-ink placeholder:text-faint focus-visible:outline-offset-0 aria-invalid:border-danger sm:text-sm';

type Props = {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly help?: ReactNode;
  readonly error?: string | undefined;
  readonly optional?: boolean;
  readonly placeholder?: string;
  readonly type?: 'text' | 'search' | 'datetime-local';
  readonly rows?: number;
  readonly mono?: boolean;
  readonly autoFocus?: boolean;
  readonly autoComplete?: string;
  readonly maxLength?: number;
};

/** One labelled input with its help and its error tied to it. With `rows` it is a text area. */
export function TextField(props: Props) {
  const { label, value, onChange, help, error, optional, rows, mono, type = 'text' } = props;
  return (
    <Base.Root invalid={error !== undefined} className="flex flex-col gap-1.5">
      <Base.Label className="text-sm font-medium">
        {label}
        {optional === true && <span className="font-normal text-soft"> (optional)</span>}
      </Base.Label>
      <Base.Control
        render={rows === undefined ? <input type={type} /> : <textarea rows={rows} />}
        value={value}
        onValueChange={(next: string) => onChange(next)}
        placeholder={props.placeholder}
        autoFocus={props.autoFocus}
        autoComplete={props.autoComplete ?? 'off'}
        maxLength={props.maxLength}
        spellCheck={mono === true ? false : undefined}
        className={cx(inputClass, mono === true && 'font-mono')}
      />
      {help !== undefined && <Base.Description className="text-sm text-soft">{help}</Base.Description>}
      {error !== undefined && (
        <Base.Error match className="text-sm text-danger">
          {error}
        </Base.Error>
      )}
    </Base.Root>
  );
}
