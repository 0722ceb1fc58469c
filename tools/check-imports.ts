/**
 * Checks who may import whom. The table is the rule (docs/architecture.md explains it); the rest of this script only reads
 * it. A check of boundaries is worth nothing when it sees no imports, so a folder in which it has seen none fails.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export type Rule = {
  /** Other top-level folders of src/ it may import. */
  readonly folders: readonly string[] | 'any';
  /** npm packages it may import in shipped code. */
  readonly npm: readonly string[] | 'any';
  /** Node built-ins it may import in shipped code. */
  readonly node: readonly string[] | 'any';
};

/**
 * One row for each folder of src/, and one for the console. Files directly in src/ (config.ts, main.ts and the like) and in
 * src/start put the parts together, so they may import everything; nobody but `cli` may import them.
 */
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
      'node:fs/promises',
      'node:http',
      'node:https',
      'node:net',
      'node:path',
      'node:stream',
      'node:stream/promises',
      'node:tls',
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
  // `policy` and `sql`: `sally validate` and `sally policy test` judge files on a machine that has no server.
  // `src`: `sally up` starts the composition root.
  cli: {
    folders: ['core', 'contract', 'log', 'policy', 'sql', 'src'],
    npm: ['commander', '@clack/prompts', 'jose', 'yaml'],
    node: 'any',
  },
  start: { folders: 'any', npm: 'any', node: 'any' },
  src: { folders: 'any', npm: 'any', node: 'any' },
  // The browser loads it: of ours only the contract, and the domain's types.
  web: {
    folders: ['contract', 'core'],
    npm: [
      'react',
      'react-dom',
      '@base-ui/react',
      '@simplewebauthn/browser',
      '@tanstack/react-query',
      '@tanstack/react-router',
      'zod',
    ],
    node: [],
  },
};

/** What tests beside the code may use besides: any built-in, test/support, and these packages. */
const testPackages = ['fast-check', 'playwright-core', 'pg'];

const importPattern =
  /^\s*(?:import|export)\s+(?:type\s+)?(?:[\w$*{}\s,]+?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

export type Violation = { readonly file: string; readonly imports: string; readonly because: string };

/** The row of the table that a file falls under; tools and tests fall under none. */
function areaOf(path: string): string | undefined {
  const [top, folder, ...rest] = path.split('/');
  if (top === 'web' && folder === 'src') return 'web';
  if (top !== 'src') return undefined;
  return rest.length === 0 ? 'src' : folder;
}

/** Looks at the imports of one file. `file` and `root` are absolute. `seen` counts all imports, harmless ones too. */
export function checkFile(file: string, text: string, root: string): { seen: number; violations: Violation[] } {
  const violations: Violation[] = [];
  let seen = 0;
  const path = relative(root, file);
  const area = areaOf(path);
  const rule = area === undefined ? undefined : rules[area];
  const isTest = path.endsWith('.test.ts');
  const source = text.replace(/^\s*(?:\/\/|\*|\/\*\*).*$/gm, '');
  for (const match of source.matchAll(importPattern)) {
    const target = match[1] ?? match[2];
    if (target === undefined) continue;
    seen += 1;
    const bad = (because: string) => violations.push({ file: path, imports: target, because });
    if (area !== undefined && rule === undefined) {
      bad(`src/${area} is not in the table of tools/check-imports.ts`);
      continue;
    }
    if (target.startsWith('.')) {
      const at = relative(root, resolve(dirname(file), target));
      if (area !== undefined && area !== 'src' && areaOf(at) !== area)
        bad('relative imports stay inside their top-level folder; use #folder/file.ts across folders');
      if (isPrivate(at) && dirname(at) !== dirname(path)) bad('a _name.ts file is private to its folder');
    } else if (target.startsWith('#')) {
      const other = target.slice(1).split('/')[0] ?? '';
      // What tests of a folder share stands in test/support, and may be about a private file of that folder.
      if (isPrivate(target) && !path.startsWith('test/support/')) bad('a _name.ts file is private to its folder');
      if (rule === undefined || (isTest && other === 'test')) continue;
      if (other === area && area !== 'src') bad('inside a folder imports are relative');
      else if (other === 'test') bad('shipped code imports nothing of the tests');
      else if (!allows(rule.folders, other)) bad(`${area} may import: ${list(rule.folders)}`);
    } else if (target.startsWith('node:')) {
      if (rule !== undefined && !isTest && !allows(rule.node, target))
        bad(`${area} may use of Node: ${list(rule.node)}`);
    } else {
      const name = target.split('/', target.startsWith('@') ? 2 : 1).join('/');
      if (rule !== undefined && !(isTest && testPackages.includes(name)) && !allows(rule.npm, name))
        bad(`${area} may use of npm: ${list(rule.npm)}`);
    }
  }
  return { seen, violations };
}

function isPrivate(target: string): boolean {
  return target.split('/').at(-1)?.startsWith('_') === true;
}

function allows(allowed: readonly string[] | 'any', name: string): boolean {
  return allowed === 'any' || allowed.includes(name);
}

function list(allowed: readonly string[] | 'any'): string {
  return allowed === 'any' ? 'anything' : allowed.join(', ') || 'nothing';
}

/**
 * Looks at all sources below `root`. `blind` names the folders in which no import was seen at all: there the check is
 * broken, not passed.
 */
export function checkTree(root: string): { seen: number; violations: Violation[]; blind: string[] } {
  const violations: Violation[] = [];
  const seenIn = new Map<string, number>();
  for (const file of ['src', 'web/src', 'web/test', 'test', 'tools'].flatMap((top) => sourcesBelow(join(root, top)))) {
    const result = checkFile(file, readFileSync(file, 'utf8'), root);
    const path = relative(root, file);
    const area = areaOf(path) ?? path.split('/')[0] ?? '';
    seenIn.set(area, (seenIn.get(area) ?? 0) + result.seen);
    violations.push(...result.violations);
  }
  const blind = [...seenIn].filter(([, count]) => count === 0).map(([area]) => area);
  const seen = [...seenIn.values()].reduce((sum, count) => sum + count, 0);
  return { seen, violations, blind: seenIn.size === 0 ? ['src'] : blind };
}

function sourcesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { seen, violations, blind } = checkTree(resolve(process.argv[2] ?? join(import.meta.dirname, '..')));
  for (const { file, imports, because } of violations) console.error(`${file} imports ${imports}: ${because}`);
  for (const area of blind) console.error(`${area}: the import check saw no imports there: it is broken, not passed`);
  if (violations.length > 0 || blind.length > 0) process.exit(1);
  console.log(`imports: ${seen} checked`);
}
