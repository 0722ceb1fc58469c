/**
 * Checks who may import whom. The table is the rule (docs/architecture.md explains it); this script only reads it.
 * It fails when it has seen no imports, so that a parser change can't turn the check into a silent pass.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

type Rule = {
  /** Other top-level folders of src/ it may import. */
  readonly folders: readonly string[];
  /** npm packages it may import in shipped code. */
  readonly npm: readonly string[] | 'any';
  /** Node built-ins it may import in shipped code. */
  readonly node: readonly string[] | 'any';
};

/** Test files (`*.test.ts`) may additionally import test/support, node:test, node:assert and fast-check. */
export const rules: Readonly<Record<string, Rule>> = {
  core: { folders: [], npm: [], node: [] },
  contract: { folders: ['core'], npm: ['zod'], node: [] },
  wire: { folders: ['core'], npm: [], node: ['node:crypto'] },
  sql: { folders: ['core'], npm: ['libpg-query', '@pgsql/types'], node: [] },
  log: { folders: ['core'], npm: [], node: ['node:crypto'] },
  policy: { folders: ['core', 'sql'], npm: ['@cedar-policy/cedar-wasm', 'yaml'], node: [] },
  store: {
    folders: ['core'],
    npm: ['pg', 'kysely'],
    node: [
      'node:fs',
      'node:fs/promises',
      'node:path',
      'node:child_process',
      'node:module',
      'node:os',
      'node:url',
      'node:net',
      'node:crypto',
      'node:process',
      'node:sqlite',
    ],
  },
  identity: {
    folders: ['core'],
    npm: ['@simplewebauthn/server', 'jose', '@peculiar/x509', 'reflect-metadata'],
    node: ['node:crypto'],
  },
  app: { folders: ['core', 'log', 'policy', 'sql', 'store', 'identity'], npm: ['kysely'], node: [] },
  api: {
    folders: ['core', 'contract', 'app', 'identity'],
    npm: ['hono', '@hono/node-server'],
    node: [
      'node:http',
      'node:https',
      'node:tls',
      'node:net',
      'node:stream',
      'node:stream/promises',
      'node:fs/promises',
      'node:path',
      'node:util',
      'node:zlib',
    ],
  },
  gateway: {
    folders: ['core', 'wire', 'sql', 'log'],
    npm: ['pg'],
    node: [
      'node:net',
      'node:tls',
      'node:fs',
      'node:fs/promises',
      'node:path',
      'node:crypto',
      'node:worker_threads',
      'node:url',
      'node:buffer',
      'node:perf_hooks',
    ],
  },
  // Pieces of main.ts: they compose, so they know everything.
  start: {
    folders: ['src', 'core', 'contract', 'wire', 'sql', 'log', 'policy', 'store', 'identity', 'app', 'api', 'gateway'],
    npm: 'any',
    node: 'any',
  },
  cli: { folders: ['core', 'contract', 'log'], npm: ['commander', '@clack/prompts', 'jose', 'yaml'], node: 'any' },
};

/** Files directly in src/ (config.ts, main.ts and the like) compose the parts and may import everything. */
const importPattern =
  /^\s*(?:import|export)\s+(?:type\s+)?(?:[\w$*{}\s,]+?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

export type Violation = { readonly file: string; readonly imports: string; readonly because: string };

export function checkFile(file: string, text: string, root: string): { seen: number; violations: Violation[] } {
  const violations: Violation[] = [];
  let seen = 0;
  const path = relative(root, file);
  const [top, folder, ...rest] = path.split('/');
  const isTest = path.endsWith('.test.ts');
  const source = text.replace(/^\s*(?:\/\/|\*|\/\*\*).*$/gm, '');
  for (const match of source.matchAll(importPattern)) {
    const target = match[1] ?? match[2];
    if (target === undefined) continue;
    seen += 1;
    const bad = (because: string) => violations.push({ file: path, imports: target, because });
    if (target.startsWith('.')) {
      const at = relative(root, resolve(dirname(file), target));
      if (top === 'src' && rest.length > 0 && !at.startsWith(`src/${folder}/`))
        bad('relative imports stay inside their top-level folder; use #folder/file.ts across folders');
      const name = at.split('/').pop() ?? '';
      if (name.startsWith('_') && dirname(at) !== dirname(path)) bad('a _name.ts file is private to its folder');
      continue;
    }
    if (top !== 'src' || rest.length === 0) continue;
    const rule = rules[folder ?? ''];
    if (rule === undefined) {
      bad(`src/${folder} is not in the table of tools/check-imports.ts`);
      continue;
    }
    if (target.startsWith('#')) {
      const [other, ...inner] = target.slice(1).split('/');
      if (isTest && other === 'test') continue;
      if (other === folder) bad('inside a folder imports are relative');
      else if (!rule.folders.includes(other ?? ''))
        bad(`${folder} may import: ${rule.folders.join(', ') || 'nothing'}`);
      if ((inner.at(-1) ?? '').startsWith('_')) bad('a _name.ts file is private to its folder');
    } else if (target.startsWith('node:')) {
      if (isTest) continue;
      if (rule.node !== 'any' && !rule.node.includes(target))
        bad(`${folder} may use of Node: ${rule.node.join(', ') || 'nothing'}`);
    } else {
      const name = target.startsWith('@') ? target.split('/').slice(0, 2).join('/') : target.split('/')[0];
      if (isTest && (name === 'fast-check' || name === 'playwright-core' || name === 'pg')) continue;
      if (rule.npm !== 'any' && !rule.npm.includes(name ?? ''))
        bad(`${folder} may use of npm: ${rule.npm.join(', ') || 'nothing'}`);
    }
  }
  return { seen, violations };
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const root = resolve(import.meta.dirname, '..');
  let seen = 0;
  const violations: Violation[] = [];
  for (const file of filesBelow(join(root, 'src'))) {
    const result = checkFile(file, readFileSync(file, 'utf8'), root);
    seen += result.seen;
    violations.push(...result.violations);
  }
  for (const v of violations) console.error(`${v.file} imports ${v.imports}: ${v.because}`);
  if (seen === 0) {
    console.error('the import check saw no imports: it is broken, not passed');
    process.exit(1);
  }
  if (violations.length > 0) process.exit(1);
  console.log(`imports: ${seen} checked`);
}
