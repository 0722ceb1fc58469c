import type { PlanView } from '#contract/views.ts';
import { Badge, type Tone } from '../ui/badge.tsx';
import { Rows } from '../ui/card.tsx';
import { Section } from '../ui/page.tsx';

/** One list of a plan's changes; nothing when it is empty. */
export function PlanChanges(props: {
  readonly title: 'Added' | 'Changed' | 'Removed';
  readonly tone: Tone;
  readonly changes: PlanView['added'];
}) {
  const { title, tone, changes } = props;
  if (changes.length === 0) return null;
  return (
    <Section title={title}>
      <Rows label={title}>
        {changes.map(({ what, name, details }) => (
          <li key={`${what} ${name}`} className="flex flex-col gap-1.5 px-5 py-4">
            <span className="flex flex-wrap items-baseline gap-2">
              <Badge tone={tone}>{what}</Badge>
              <span className="font-medium">{name}</span>
            </span>
            {details.length > 0 && (
              <ul className="flex flex-col gap-0.5 font-mono text-xs text-soft">
                {details.map((detail, index) => (
                  <li key={index} className="whitespace-pre-wrap">
                    {detail}
                  </li>
                ))}
              </ul>
            )}
          </li>
        ))}
      </Rows>
    </Section>
  );
}
