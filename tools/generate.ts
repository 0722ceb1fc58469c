/**
 * Writes the files that are made from other files; with `--check` it writes nothing and fails when one has drifted. They
 * are committed, so that they can be read, and reviewed, without running anything.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openApiDocument } from '#contract/openapi.ts';
import { threatModel } from './check-invariants.ts';
import { cliReference } from './cli-reference.ts';
import { architecture } from './import-table.ts';

type Generated = {
  readonly file: string;
  /** The whole text that the file must have, given what it has now. */
  readonly make: (now: string, root: string) => string | Promise<string>;
};

export const generated: readonly Generated[] = [
  { file: 'docs/architecture.md', make: architecture },
  { file: 'docs/cli.md', make: cliReference },
  { file: 'docs/openapi.json', make: () => `${JSON.stringify(openApiDocument(), null, 2)}\n` },
  { file: 'docs/threat-model.md', make: threatModel },
];

/** Makes all files anew. Answers with those that had drifted; they are written unless `check` is set. */
export async function generate(root: string, options: { readonly check: boolean }): Promise<readonly string[]> {
  const drifted: string[] = [];
  for (const { file, make } of generated) {
    const now = readFileSync(join(root, file), 'utf8');
    const text = await make(now, root);
    if (text === now) continue;
    drifted.push(file);
    if (!options.check) writeFileSync(join(root, file), text);
  }
  return drifted;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const check = process.argv.includes('--check');
  const drifted = await generate(resolve(import.meta.dirname, '..'), { check });
  for (const file of drifted)
    console.log(check ? `${file} has drifted; \`node tools/generate.ts\` writes it` : `wrote ${file}`);
  if (check && drifted.length > 0) process.exit(1);
}
