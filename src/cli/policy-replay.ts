/** `sally policy replay`: what another policy set would have decided otherwise, over what was asked. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { LogEntryView } from '#contract/views.ts';
import type { Cli } from './cli.ts';
import { countOf, defaultConfigurationFile, printFaults, readConfigurationFiles } from './configuration-files.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { parseMoment } from './parse-values.ts';
import { fields, json, line } from './screen.ts';
import { openServer } from './server.ts';

type Flags = { readonly since: string; readonly with: string };

export function addPolicyReplay(policy: Command, cli: Cli): void {
  examples(
    policy
      .command('replay')
      .summary('ask policies what was asked before')
      .description(
        'Asks the policies of a configuration what was asked of those in force since then: requests for roles, and each ' +
          'different question about statements, by who asked as they were then. Lists what would be decided otherwise. ' +
          'It reads the whole log, which is itself logged.',
      )
      .requiredOption('--since <time>', 'from then on: 7d, 2026-11-22T09:00:00Z', (text) =>
        parseMoment(text, cli.now(), 'past'),
      )
      .option('--with <file>', 'the configuration to ask, or its folder', defaultConfigurationFile)
      .action((flags: Flags) => policyReplay(cli, flags)),
    ['what the policies in this folder would change', 'sally policy replay --since 7d --with .'],
  );
}

async function policyReplay(cli: Cli, flags: Flags): Promise<void> {
  const { parseConfiguration } = await import('#policy/configuration.ts');
  const { createReplay, questionOf } = await import('#policy/replay.ts');
  const { openPolicyEngine, shippedPolicies } = await import('#src/open-policy-engine.ts');
  const { out, err } = cli.screen;
  const isFolder = statSync(flags.with, { throwIfNoEntry: false })?.isDirectory() === true;
  const files = await readConfigurationFiles(
    'replay with',
    isFolder ? join(flags.with, defaultConfigurationFile) : flags.with,
  );
  const shipped = shippedPolicies();
  const engine = await openPolicyEngine();
  const parsed = parseConfiguration({ ...files, shipped, engine });
  const candidate = parsed.kind === 'ok' ? engine.decideBy({ shipped, configuration: parsed.configuration }) : parsed;
  if (candidate.kind === 'faults') {
    printFaults(err, files, candidate.faults);
    throw new CliError(
      'verification_failed',
      `replay with \`${files.file}\`: ${countOf(candidate.faults.length, 'fault')} in it`,
    );
  }
  const { client } = await openServer(cli, 'signed-in');
  const replay = createReplay(candidate.decide);
  let read = 0;
  let unreadable = 0;
  for (const kind of ['request.filed', 'statement.judged']) {
    let cursor: string | undefined;
    do {
      const at = cursor;
      const page: { readonly items: readonly LogEntryView[]; readonly next: string | null } = await attempt(
        'read the log',
        () =>
          client.listLog({
            query: { scope: 'all', kind, since: flags.since, order: 'oldest', cursor: at, limit: 200 },
          }),
      );
      for (const entry of page.items) {
        const recorded = questionOf(entry);
        if (recorded === undefined) unreadable += 1;
        else replay.ask(recorded);
      }
      read += page.items.length;
      cursor = page.next ?? undefined;
      if (cursor !== undefined)
        line(err, { text: `${read} asked again, up to ${page.items.at(-1)?.at ?? ''} …`, colour: 'dim' });
    } while (cursor !== undefined);
  }
  const result = replay.result();
  if (cli.shared().json) return json(out, { ...result, unreadable });
  for (const { was, now, handle, role, what, policies, because, count, entries } of result.changes) {
    line(out, { text: `${was} → ${now}`, colour: now === 'allow' ? 'yellow' : 'red' }, `  @${handle} in ${role}`, {
      text: count === 1 ? '' : `  ${count} times`,
      colour: 'dim',
    });
    fields(out, [
      ['asked', what.join('; ')],
      ['by', policies.length === 0 ? 'no policy' : policies.join(', ')],
      ...(because === undefined ? [] : ([['because', because]] as const)),
      ['entries', entries.join(', ')],
    ]);
  }
  if (result.unlisted > 0) line(out, `and ${countOf(result.unlisted, 'further change')} that are not listed`);
  const counts = Object.entries(result.counts).map(([arrow, count]) => `${count} ${arrow}`);
  line(
    out,
    `${countOf(result.asked, 'question')} asked again: `,
    result.changed === 0 ? { text: 'all are decided as they were', colour: 'green' } : counts.join(', '),
  );
  if (unreadable > 0)
    line(out, {
      text: `${countOf(unreadable, 'entry', 'entries')} can't be asked again: written by an older version, or their content is erased`,
      colour: 'dim',
    });
}
