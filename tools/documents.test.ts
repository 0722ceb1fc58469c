/** What the documents say can be done can be done: links lead somewhere, commands and their options exist. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import type { Command } from 'commander';
import { buildProgram } from '../src/cli/program.ts';

const root = resolve(import.meta.dirname, '..');
const documents = ['*.md', 'docs/**/*.md'].flatMap((pattern) => globSync(pattern, { cwd: root })).toSorted();
const textOf = (document: string): string => readFileSync(join(root, document), 'utf8');

/** As headings are addressed on GitHub. */
const anchorsOf = (text: string): readonly string[] =>
  [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

test('there are documents', () => {
  assert.ok(documents.length > 10);
});

for (const document of documents)
  test(`${document}: every link within the repository leads somewhere`, () => {
    for (const [, target = ''] of textOf(document).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? document : join(dirname(document), path);
      assert.ok(existsSync(join(root, file)), target);
      if (anchor !== undefined) assert.ok(anchorsOf(textOf(file)).includes(anchor), target);
    }
  });

const sink = { write: () => undefined, isTty: false, colours: false, columns: undefined };
const program = buildProgram((shared) => ({
  env: {},
  screen: { out: sink, err: sink, canAsk: false },
  now: () => 0,
  shared,
}));

/** What is wrong with a command line, as far as names go. */
function faultOf(words: readonly string[]): string | undefined {
  let command: Command = program;
  const known = [...program.options];
  for (const word of words) {
    if (word === '--') break;
    if (word.startsWith('-')) {
      const name = word.split('=')[0];
      if (!known.some(({ short, long }) => short === name || long === name)) return `no option \`${name}\``;
      continue;
    }
    // Stands for any command.
    if (word === 'COMMAND') return undefined;
    const next = command.commands.find((candidate) => candidate.name() === word);
    if (next === undefined && command === program) return `no command \`${word}\``;
    if (next === undefined) continue;
    command = next;
    // `sally requests` alone is `sally requests list`.
    known.push(...command.options, ...command.commands.flatMap(({ options }) => options));
  }
  return undefined;
}

/** Lines of code blocks that begin with `sally`, and inline code that does. */
function commandsIn(text: string): readonly string[] {
  const blocks = [...text.matchAll(/^\s*```(?:sh|bash|console)?\n([\s\S]*?)^\s*```$/gm)].flatMap(([, block = '']) =>
    block.split('\n'),
  );
  const inline = [...text.matchAll(/`(sally [^`]+)`/g)].map(([, code = '']) => code);
  return [...blocks, ...inline]
    .map((line) =>
      line
        .trim()
        .replace(/^\$ /, '')
        .replace(/^(?:[A-Z_]+=\S+ )+/, ''),
    )
    .filter((line) => line.startsWith('sally '));
}

for (const document of documents) {
  const commands = commandsIn(textOf(document));
  if (commands.length === 0) continue;
  test(`${document}: every sally command and option exists`, () => {
    for (const command of commands)
      for (const part of command.split(/ (?:&&|\|) /)) {
        if (!part.startsWith('sally ')) continue;
        assert.equal(
          faultOf(
            part
              .replaceAll(/"[^"]*"/g, 'text')
              .split(' ')
              .slice(1),
          ),
          undefined,
          part,
        );
      }
  });
}

test('every npm script that a document names exists', () => {
  const { scripts } = JSON.parse(textOf('package.json')) as { readonly scripts: Readonly<Record<string, string>> };
  for (const document of documents)
    for (const [, name = ''] of textOf(document).matchAll(/\bnpm (?:run )?(start|test|story|check[:a-z]*|build)\b/g))
      assert.ok(name in scripts, `${document}: npm run ${name}`);
});
