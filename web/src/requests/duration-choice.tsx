import { Radio } from '@base-ui/react/radio';
import { RadioGroup } from '@base-ui/react/radio-group';
import { durationText } from '../format/duration.ts';
import { TextField } from '../ui/field.tsx';

const usual = [900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 259_200, 604_800];

/** Usual durations up to what the role allows at most, which is always one of them. */
export function durationsUpTo(maxSeconds: number): readonly number[] {
  return [...usual.filter((seconds) => seconds < maxSeconds), maxSeconds].slice(-6);
}

const chip =
  'inline-flex min-h-10 min-w-16 cursor-pointer items-center justify-center rounded-lg border border-strong-line bg-card px-3.5 text-sm hover:bg-sunken data-[checked]:border-accent data-[checked]:bg-accent-wash data-[checked]:font-medium data-[checked]:text-ink';

/** `choice` is seconds as text, or `other` with a text of its own. */
export function DurationChoice(props: {
  readonly maxSeconds: number;
  readonly choice: string;
  readonly other: string;
  readonly otherFault: string | undefined;
  readonly onChoice: (choice: string) => void;
  readonly onOther: (text: string) => void;
}) {
  const { maxSeconds, choice, other, otherFault, onChoice, onOther } = props;
  return (
    <div className="flex flex-col gap-3">
      <div>
        <p id="duration-label" className="mb-1.5 text-sm font-medium">
          For how long?
        </p>
        <RadioGroup
          aria-labelledby="duration-label"
          value={choice}
          onValueChange={(value) => onChoice(String(value))}
          className="flex flex-wrap gap-2"
        >
          {durationsUpTo(maxSeconds).map((seconds) => (
            <Radio.Root key={seconds} value={String(seconds)} aria-label={durationText(seconds)} className={chip}>
              {durationText(seconds)}
            </Radio.Root>
          ))}
          <Radio.Root value="other" aria-label="Other" className={chip}>
            Other
          </Radio.Root>
        </RadioGroup>
      </div>
      {choice === 'other' && (
        <TextField
          label="Duration"
          value={other}
          onChange={onOther}
          placeholder="1h30m"
          help={`Such as 45m, 1h30m or 2d; at most ${durationText(maxSeconds)}.`}
          error={otherFault}
          autoFocus
          mono
        />
      )}
    </div>
  );
}
