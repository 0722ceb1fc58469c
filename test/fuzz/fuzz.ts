/**
 * The fuzzer: `npm run fuzz -- --minutes 60 --seed 7 --only client,target`. It attacks a gateway in a process of its own from
 * both sides of the wire, and its analyser with texts. A finding is made smaller, kept in `corpus/`, and ends the run with
 * exit code 1; what is in there is played first each time.
 *
 * What counts as a finding: a crash, a fault that the gateway tells of, a session that doesn't end, a good client that isn't
 * served, growth, an answer that isn't the server's, and above all a byte at the target that nobody judged.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import type { Area } from './_area.ts';
import { goodClient, heldUp, late, startBench, within } from './_bench.ts';
import { client } from './client.ts';
import { sql, tally } from './sql.ts';
import { startup, tls } from './startup.ts';
import { target } from './target.ts';

const areas = [client, target, startup, tls, sql].map((one) => one as unknown as Area<unknown>);

const corpus = join(import.meta.dirname, 'corpus');
const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string' },
    keep: { type: 'boolean' },
  },
});
const minutes = Number(values.minutes ?? 5);
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const only = values.only?.split(',');
if (!Number.isFinite(minutes) || minutes <= 0 || !Number.isInteger(seed)) {
  console.error('fuzz: `--minutes` takes a number above 0, `--seed` a whole number');
  process.exit(2);
}
const chosen = areas.filter(({ name }) => only === undefined || only.includes(name));
if (chosen.length === 0) {
  console.error(`fuzz: there is no area \`${values.only}\`; there are ${areas.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}

const releases: (() => void | Promise<void>)[] = [];
const bench = await startBench({ after: (release) => void releases.push(release) });
const began = performance.now();
const secondsOf = (since: number) => (performance.now() - since) / 1000;
console.log(`fuzz: seed ${seed}, ${minutes} minutes, ${chosen.map(({ name }) => name).join(', ')}`);

let findings = 0;
const counts = new Map<string, { cases: number; seconds: number }>();

/** The case's own verdict, or a fault that the gateway has told of meanwhile. */
async function play(area: Area<unknown>, one: unknown): Promise<string | undefined> {
  const before = bench.gateway().faults.length;
  const verdict = await within(60_000, area.play(one, bench)).catch((error: unknown) =>
    bench.gateway().hasEnded() ? undefined : `the case itself failed: ${(error as Error).stack}`,
  );
  const fault = bench.gateway().faults[before];
  if (fault !== undefined) return `the gateway told of a fault: ${fault}`;
  return verdict === late ? 'the case took longer than a minute' : verdict;
}

async function report(area: Area<unknown>, one: unknown, verdict: string): Promise<void> {
  findings += 1;
  console.log(`\nfinding in \`${area.name}\`: ${verdict}`);
  if (bench.gateway().hasEnded()) await bench.renew();
  let smallest = one;
  let words = verdict;
  const stopAt = performance.now() + 60_000;
  for (let isSmaller = true; isSmaller && performance.now() < stopAt;) {
    isSmaller = false;
    for (const smaller of area.smaller(smallest)) {
      if (performance.now() > stopAt) break;
      const again = await play(area, smaller);
      if (bench.gateway().hasEnded()) await bench.renew();
      if (again === undefined) continue;
      smallest = smaller;
      words = again;
      isSmaller = true;
      break;
    }
  }
  const text = `${JSON.stringify({ area: area.name, because: words.split('\n')[0]?.slice(0, 200), case: smallest }, undefined, 2)}\n`;
  mkdirSync(corpus, { recursive: true });
  const file = join(corpus, `${area.name}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}.json`);
  writeFileSync(file, text);
  console.log(`smallest: ${words}\nkept as ${file}`);
}

async function replay(): Promise<void> {
  let played = 0;
  for (const name of readdirSync(corpus).filter((file) => file.endsWith('.json'))) {
    const kept = JSON.parse(readFileSync(join(corpus, name), 'utf8')) as { area: string; case: unknown };
    const area = chosen.find((one) => one.name === kept.area);
    if (area === undefined) continue;
    played += 1;
    const verdict = await play(area, kept.case);
    if (bench.gateway().hasEnded()) await bench.renew();
    if (verdict === undefined) continue;
    findings += 1;
    console.log(`again in ${name}: ${verdict}`);
  }
  console.log(`corpus: ${played} cases, ${findings} fail`);
}

const batchSeconds = 15;
/** What the target may lose to its administrator. */
const mostAdmins = 16;

/** One batch, a few cases at a time. What failed in company is played again alone. */
async function batch(area: Area<unknown>, batchSeed: number): Promise<void> {
  const started = performance.now();
  const list = fc.sample(area.cases, { seed: batchSeed, numRuns: 640 });
  let next = 0;
  const failed: { one: unknown; verdict: string }[] = [];
  let done = 0;
  const faultsBefore = bench.gateway().faults.length;
  const worker = async () => {
    while (
      next < list.length &&
      secondsOf(started) < batchSeconds &&
      failed.length === 0 &&
      !bench.gateway().hasEnded()
    ) {
      const one = list[next];
      next += 1;
      const verdict = await within(60_000, area.play(one, bench)).catch((error: unknown) => String(error));
      done += 1;
      if (verdict !== undefined)
        failed.push({ one, verdict: verdict === late ? 'took longer than a minute' : verdict });
      else if (bench.gateway().faults.length > faultsBefore)
        failed.push({ one, verdict: bench.gateway().faults[faultsBefore] ?? '' });
    }
  };
  await Promise.all(Array.from({ length: area.abreast }, worker));
  const before = counts.get(area.name) ?? { cases: 0, seconds: 0 };
  counts.set(area.name, { cases: before.cases + done, seconds: before.seconds + secondsOf(started) });
  if (bench.gateway().hasEnded()) await bench.renew();
  if (failed.length > 0) {
    // Which of those that ran together it was.
    console.log(
      `\nin \`${area.name}\`, seed ${batchSeed}: ${failed[0]?.verdict}\nlooking for the case that does it alone`,
    );
    const lookUntil = performance.now() + 90_000;
    const around = list.slice(Math.max(0, next - 2 * area.abreast), next);
    for (const one of [...failed.map((f) => f.one), ...around]) {
      if (performance.now() > lookUntil) break;
      const verdict = await play(area, one);
      if (verdict !== undefined) return report(area, one, verdict);
    }
    findings += 1;
    console.log(`\nfinding in \`${area.name}\` with seed ${batchSeed}, not seen again alone: ${failed[0]?.verdict}`);
    return;
  }
  const admins = bench.target.mostOfAdmin();
  if (admins > mostAdmins) {
    findings += 1;
    console.log(`\nfinding in \`${area.name}\` with seed ${batchSeed}: ${admins} connections of the administrator`);
  }
  const good = await goodClient(bench);
  if (good !== undefined) {
    findings += 1;
    console.log(`\nfinding after a batch of \`${area.name}\` with seed ${batchSeed}: ${good}`);
    await bench.renew();
  }
}

type Size = { readonly heap: number; readonly descriptors: number; readonly sessions: number };
const measure = async (): Promise<Size> => {
  const state = await bench.gateway().settled();
  return { heap: state.heapUsed + state.external, descriptors: state.descriptors, sessions: state.sessions };
};

/** Growth: the same number of batches later, with everybody gone, it is not larger than by a little. */
let size: { readonly pid: number; readonly at: number; readonly before: Size } | undefined;
async function checkGrowth(batches: number): Promise<void> {
  let now = await measure();
  const { pid } = bench.gateway();
  if (size?.pid !== pid) {
    // Caches have filled by now.
    if (batches >= 3) size = { pid, at: batches, before: now };
    return;
  }
  const { before } = size;
  // Sockets take a moment to close.
  for (let i = 0; i < 20 && (now.sessions > 0 || now.descriptors > before.descriptors); i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    now = await measure();
  }
  const grown = [
    now.sessions > 0 ? `${now.sessions} sessions are left` : undefined,
    now.descriptors > before.descriptors + 20
      ? `descriptors: ${before.descriptors}, now ${now.descriptors}`
      : undefined,
    now.heap > before.heap + (64 << 20) ? `heap: ${before.heap >> 20} MiB, now ${now.heap >> 20} MiB` : undefined,
  ].filter((text) => text !== undefined);
  if (grown.length === 0) return;
  findings += 1;
  console.log(`\nfinding: growth over ${batches - size.at} batches: ${grown.join('; ')}`);
  await bench.renew();
}

await replay();
let batches = 0;
let saidAt = 0;
while (secondsOf(began) < minutes * 60 && findings === 0) {
  const area = chosen[batches % chosen.length];
  if (area === undefined) break;
  await batch(area, (seed + batches * 7919) | 0);
  batches += 1;
  if (batches % chosen.length === 0 && findings === 0) await checkGrowth(batches / chosen.length);
  if (secondsOf(began) - saidAt > 30) {
    saidAt = secondsOf(began);
    console.log(`${saidAt.toFixed(0)} s: ${progress()}`);
  }
}
function progress(): string {
  return [...counts]
    .map(([name, { cases, seconds }]) => `${name} ${cases} (${(cases / seconds).toFixed(0)}/s)`)
    .join(', ');
}
console.log(
  `fuzz: ${secondsOf(began).toFixed(0)} s, ${progress()}; findings: ${findings} (seed ${seed}), held up for ${heldUp.most} ms at most`,
);
if (counts.has(sql.name)) console.log(`statements of \`sql\`: ${JSON.stringify(tally)}`);
if (size !== undefined)
  console.log(`size at the end: ${JSON.stringify(await measure())}, before: ${JSON.stringify(size.before)}`);
await bench[Symbol.asyncDispose]();
for (const release of releases.toReversed()) await release();
process.exit(findings === 0 ? 0 : 1);
