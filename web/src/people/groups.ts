import { groupName } from '#contract/views.ts';

/** Groups as people type them, `dba, engineers`: a list without doubles, or what is wrong with it. */
export function parseGroups(text: string): { readonly groups: string[]; readonly fault: string | undefined } {
  const groups = [...new Set(text.split(/[\s,]+/).filter((name) => name !== ''))].sort();
  const wrong = groups.find((name) => !groupName.safeParse(name).success);
  return {
    groups,
    fault:
      wrong === undefined
        ? groups.length > 32
          ? 'At most 32 groups.'
          : undefined
        : `“${wrong}” is not a group: lower-case letters and digits, with single . _ : - between.`,
  };
}
