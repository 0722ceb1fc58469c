/** The import rule as a table for people, in docs/architecture.md: made from the one that is checked. */
import { type Rule, rules } from './check-imports.ts';

/** The document with its table made anew, between `<!-- import table -->` and `<!-- end -->`. */
export function architecture(document: string): string {
  return document.replace(
    /(<!-- import table -->\n)[\s\S]*?(<!-- end -->)/,
    (_, open: string, close: string) => `${open}${importTable()}\n${close}`,
  );
}

function importTable(): string {
  const rows = Object.entries(rules).map(
    ([name, { folders, npm, node }]) =>
      `| ${nameOf(name)} | ${cell(folders)} | ${cell(npm)} | ${cell(node, 'node:')} |`,
  );
  return ['| folder | may import of ours | npm | Node |', '|---|---|---|---|', ...rows].join('\n');
}

function nameOf(area: string): string {
  if (area === 'src') return 'files in `src/` itself';
  return area === 'web' ? '`web/src`' : `\`${area}\``;
}

function cell(allowed: Rule['folders'], prefix = ''): string {
  if (allowed === 'any') return 'anything';
  if (allowed.length === 0) return '–';
  return allowed
    .map((name) => (name === 'src' ? 'files in `src/`' : name.slice(name.startsWith(prefix) ? prefix.length : 0)))
    .join(', ');
}
