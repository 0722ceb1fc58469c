import { Choices } from '../ui/choices.tsx';

/** Mine, or everybody's: for those who may see the latter. */
export function ScopeChoice(props: {
  readonly to: '/grants' | '/sessions' | '/log';
  readonly scope: 'mine' | 'all';
  readonly search: Record<string, string | undefined>;
}) {
  const { to, scope, search } = props;
  return (
    <Choices
      label="Whose"
      look="tabs"
      choices={(['mine', 'all'] as const).map((key) => ({
        key,
        label: key === 'mine' ? 'Mine' : 'Everybody’s',
        current: key === scope,
        link: { to, search: { ...search, scope: key } },
      }))}
    />
  );
}
