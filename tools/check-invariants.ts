/**
 * Which tests hold which invariant: those whose name begins with `INVARIANT n:` (or `INVARIANT n and m:`). It fails when an invariant of
 * docs/threat-model.md has no test, and when a test names an invariant that isn't there. The lists in that document are
 * written from here (tools/generate.ts).
 */
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export type InvariantTest = { readonly invariant: number; readonly name: string; readonly file: string };

/** The tests named in one file's text. What a template fills in reads `…`. */
export function testsIn(file: string, text: string): readonly InvariantTest[] {
  return [...text.matchAll(/(['"`])INVARIANT (\d+(?:(?:, | and )\d+)*): /g)].flatMap((match) => {
    const name = readLiteral(text.slice(match.index + match[0].length), match[1] ?? '`');
    return (match[2] ?? '').split(/, | and /).map((number) => ({ invariant: Number(number), name, file }));
  });
}

/** The rest of a string or template literal, up to its closing quote. */
function readLiteral(text: string, quote: string): string {
  let value = '';
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === quote) return value.trim();
    if (char === '\\') {
      at += 1;
      value += text[at] ?? '';
    } else if (quote === '`' && char === '$' && text[at + 1] === '{') {
      at = endOfPlaceholder(text, at + 2);
      value += '…';
    } else value += char;
  }
  return value.trim();
}

/** The place of the brace that closes a placeholder; braces, strings and templates within it are passed over. */
function endOfPlaceholder(text: string, from: number): number {
  let at = from;
  for (let depth = 1; at < text.length; at += 1) {
    const char = text[at];
    if (char === '{') depth += 1;
    else if (char === '}' && (depth -= 1) === 0) return at;
    else if (char === "'" || char === '"' || char === '`') {
      at += 1;
      while (at < text.length && text[at] !== char) {
        if (text[at] === '\\') at += 1;
        else if (char === '`' && text[at] === '$' && text[at + 1] === '{') at = endOfPlaceholder(text, at + 2);
        at += 1;
      }
    }
  }
  return at;
}

/** All such tests of the tree, by file and in the order in which they stand there. */
export function invariantTests(root: string): readonly InvariantTest[] {
  const files = ['src/**/*.test.ts', 'test/**/*.test.ts', 'test/e2e/story.ts', 'web/test/*.test.ts']
    .flatMap((pattern) => globSync(pattern, { cwd: root }))
    .toSorted();
  return [...new Set(files)].flatMap((file) => testsIn(file, readFileSync(join(root, file), 'utf8')));
}

/** The invariants that the document states: its headings `### n. …`. */
export function statedInvariants(document: string): readonly number[] {
  return [...document.matchAll(/^### (\d+)\. /gm)].map(([, number]) => Number(number));
}

/** What is wrong: invariants without a test, tests without an invariant. */
export function faults(document: string, tests: readonly InvariantTest[]): readonly string[] {
  const stated = statedInvariants(document);
  return [
    ...(stated.length === 0 ? ['docs/threat-model.md states no invariant'] : []),
    ...stated
      .filter((number) => !tests.some(({ invariant }) => invariant === number))
      .map((number) => `INVARIANT ${number} is held by no test`),
    ...tests
      .filter(({ invariant }) => !stated.includes(invariant))
      .map(({ invariant, file }) => `${file}: INVARIANT ${invariant} is not in docs/threat-model.md`),
  ];
}

/** The document with its lists of tests made anew. */
export function threatModel(document: string, root: string): string {
  const tests = invariantTests(root);
  return document.replaceAll(
    /(<!-- tests of (\d+) -->\n)[\s\S]*?(<!-- end -->)/g,
    (_, open: string, number: string, close: string) => {
      const byFile = Map.groupBy(
        tests.filter(({ invariant }) => invariant === Number(number)),
        ({ file }) => file,
      );
      const rows = [...byFile].flatMap(([file, its]) => [
        `* \`${file}\``,
        ...[...new Set(its.map(({ name }) => name))].map((name) => `  * ${plain(name)}`),
      ]);
      return `${open}${rows.join('\n')}\n${close}`;
    },
  );
}

/** Markdown that shows the name as it is. */
function plain(name: string): string {
  return name.replaceAll(/[\\*_<>[\]]/g, '\\$&');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const root = resolve(import.meta.dirname, '..');
  const document = readFileSync(join(root, 'docs/threat-model.md'), 'utf8');
  const tests = invariantTests(root);
  const found = faults(document, tests);
  for (const fault of found) console.error(fault);
  if (found.length > 0) process.exit(1);
  console.log(`invariants: ${statedInvariants(document).length}, held by ${tests.length} tests`);
}
