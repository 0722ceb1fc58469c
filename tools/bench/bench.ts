/**
 * `npm run bench`: measures what Sallyport's gateway costs, and writes docs/performance.md and docs/performance.json. What has
 * been measured is kept after each table, so that a run which fails or is stopped half-way has written what it had.
 *
 *   npm run bench                        everything, about twelve minutes
 *   npm run bench -- --quick             a few minutes, rough
 *   npm run bench -- --only statements   some parts; the other tables stay as they are
 *   npm run bench -- --json              one document with every figure on standard output
 *   npm run bench -- --no-write          no file is touched
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { documentText, goalsText, inOrder, tableText } from './document.ts';
import { merged, type Results, type Table } from './figures.ts';
import { findPgBouncer, versionOf } from './pgbouncer.ts';
import { parts } from './parts.ts';
import { openWorld } from './world.ts';

const root = resolve(import.meta.dirname, '../..');
const jsonFile = join(root, 'docs/performance.json');
const documentFile = join(root, 'docs/performance.md');

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    'no-write': { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
  },
  allowPositionals: true,
});

const asked = (options.only ?? []).flatMap((names) => names.split(','));
for (const name of asked)
  if (!parts.some((part) => part.name === name)) {
    console.error(`measure: there is no part \`${name}\`; there are ${parts.map((part) => part.name).join(', ')}`);
    process.exit(2);
  }
const chosen = parts.filter((part) => asked.length === 0 || asked.includes(part.name));

const started = performance.now();
const say = (text: string): void => {
  const seconds = Math.round((performance.now() - started) / 1000);
  console.error(`${String(Math.floor(seconds / 60)).padStart(2)}:${String(seconds % 60).padStart(2, '0')} ${text}`);
};

const git = (...args: string[]): string => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
const commit = `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', 'src') === '' ? '' : ' and changes'}`;
const date = new Date().toISOString().slice(0, 16).replace('T', ' ');
const tables: Record<string, Table> = {};
const texts: Record<string, string> = {};
const failures: Record<string, string> = {};
const bouncer = findPgBouncer();
const versions: Record<string, string> = {
  Node: process.versions.node,
  PgBouncer: bouncer === undefined ? 'not installed: what is compared with it is left out' : versionOf(bouncer),
};
const ran: string[] = [];
/** Of the minute before: on a machine that others use as well the figures say less. */
const loadBefore = (loadavg()[0] ?? 0).toFixed(1);

const thisRun = (): Results => ({
  date: `${date} UTC`,
  commit,
  command: ['npm run bench', ...process.argv.slice(2)].join(' ').replace('bench --', 'bench -- --'),
  machine: {
    'load in the minute before': loadBefore,
    processor: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} cores`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${process.platform} ${process.arch}, kernel ${execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim()}`,
  },
  versions,
  tables,
  texts,
  failures,
});

const withoutRoot = (text: string): string =>
  text.replaceAll(`${pathToFileURL(root).href}/`, '').replaceAll(`${root}/`, '');

function save(): void {
  if (options['no-write']) return;
  const older = existsSync(jsonFile) ? (JSON.parse(readFileSync(jsonFile, 'utf8')) as Results) : undefined;
  const all = merged(older, thisRun(), ran);
  for (const [file, text] of [
    [jsonFile, `${JSON.stringify(all, null, 2)}\n`],
    [documentFile, documentText(all)],
  ] as const) {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }
}

const hasEngines = readFileSync(join(root, 'src/gateway/gateway.ts'), 'utf8').includes('readonly threads?:');
let isStopping = false;
const newWorld = () => openWorld({ quick: options.quick, say, hasEngines });
let world = newWorld();
/** Nothing that is measured takes as long; whatever does hangs. */
const longestPartMs = 9 * 60_000;
const stop = async (): Promise<void> => {
  if (isStopping) return;
  isStopping = true;
  say('ending what was started');
  await Promise.resolve(world[Symbol.asyncDispose]()).catch((error: unknown) => console.error(error));
};
// A promise that a dead child leaves behind is not the end of the others.
process.on('unhandledRejection', (error) =>
  say(`left behind: ${error instanceof Error ? error.message : String(error)}`),
);
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    say('stopped; what has been measured is kept');
    void stop().then(() => process.exit(130));
  });

function within(ms: number, work: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`it took longer than ${ms / 60_000} minutes`)), ms);
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}

for (const part of chosen) {
  if (isStopping) break;
  ran.push(part.name);
  say(`${part.name}`);
  let isBroken = false;
  const failed = (what: string, error: unknown): void => {
    if (isStopping) return;
    isBroken = true;
    // What is written down is read elsewhere: files are named by their place in here.
    failures[what] = withoutRoot(error instanceof Error ? (error.stack ?? error.message) : String(error));
    say(`${what}: ${failures[what]}`);
  };
  try {
    if (part === chosen[0]) versions['PostgreSQL'] = (await world.target()).version;
    const running = part.run(world, {
      table: (table) => {
        tables[table.name] = { ...table, commit, date, quick: options.quick };
        save();
      },
      text: (title, text) => {
        texts[title] = withoutRoot(text);
        save();
      },
      failed,
    });
    await within(longestPartMs, running);
  } catch (error) {
    failed(part.name, error);
  }
  save();
  // What has failed may have left anything behind: the next part gets everything anew.
  if (isBroken && !isStopping) {
    say('starting over for what is left');
    await Promise.resolve(world[Symbol.asyncDispose]()).catch((error: unknown) => console.error(error));
    world = newWorld();
  }
}
await stop();

if (options.json) console.log(JSON.stringify(thisRun(), null, 2));
else {
  for (const table of inOrder(thisRun())) console.log(`${table.title} (${table.unit})\n\n${tableText(table)}\n`);
  if (asked.length === 0) console.log(goalsText(thisRun()));
}
process.exit(Object.keys(failures).length === 0 ? 0 : 1);
