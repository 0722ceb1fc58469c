import { Choices } from '../ui/choices.tsx';

/**
 * Mine, or all that I may see. Who approves a role sees the grants of others under it, without a right to see everything:
 * only the server knows which, so the choice is always there.
 */
export function ScopeChoice(props: {
  readonly to: '/grants' | '/sessions' | '/log';
  readonly scope: 'mine' | 'all';
  /** Whether all is really everything. */
  readonly seesEverything: boolean;
  readonly search: Record<string, string | undefined>;
}) {
  const { to, scope, seesEverything, search } = props;
  const all = seesEverything ? 'Everybody’s' : 'All I may see';
  return (
    <Choices
      label="Whose"
      look="tabs"
      choices={(['mine', 'all'] as const).map((key) => ({
        key,
        label: key === 'mine' ? 'Mine' : all,
        current: key === scope,
        link: { to, search: { ...search, scope: key } },
      }))}
    />
  );
}
