/** `sally policy explain`: why something was decided as it was, by which policies, and with what input. */
import type { Command } from 'commander';
import type { LogEntryView } from '#contract/views.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { fields, json, line } from './screen.ts';
import { openServer } from './server.ts';

export function addPolicyExplain(policy: Command, cli: Cli): void {
  examples(
    policy
      .command('explain')
      .summary('why something was decided as it was')
      .description(
        'Shows which policies answered for an entry of the log, of which version, and what they were asked: who, in which ' +
          'groups, under which grant, for what, and under which circumstances. Of a statement these are the questions of ' +
          'its grant that the same policies answered: the gateway uses answers again.',
      )
      .argument('<entry>', 'an entry of a statement, a request or a decision; `sally log` shows them')
      .action((entry: string) => policyExplain(cli, entry)),
    ['a refused statement', 'sally policy explain ent_01jd0000000000000000000000'],
  );
}

async function policyExplain(cli: Cli, id: string): Promise<void> {
  const { questionOf, wordsOf } = await import('#policy/replay.ts');
  const { out } = cli.screen;
  const { client } = await openServer(cli, 'signed-in');
  const entry = await findDecision(client, id);
  const { facts, subject } = entry;
  const policies = textsOf(facts['policies']);
  const version = typeof facts['policyVersion'] === 'string' ? facts['policyVersion'] : undefined;
  if (version === undefined)
    throw new CliError('not_found', `explain \`${id}\`: no policy was asked about this entry`, {
      hint: 'entries of statements, requests and sessions name the policies that answered',
    });
  const own = questionOf(entry);
  const judged =
    own === undefined && subject['grant'] !== undefined
      ? await questionsOf(client, subject['grant'], policies, version)
      : [];
  const questions = own === undefined ? judged : [own];
  if (cli.shared().json)
    return json(out, { entry: entry.id, kind: entry.kind, policies, policyVersion: version, questions });
  line(out, { text: entry.summary, colour: 'bold' });
  const error = entry.content?.['error'];
  fields(out, [
    ['policies', policies.length === 0 ? 'none permits it' : policies.join(', ')],
    ['version', version],
    ...(typeof error === 'string' ? ([['told', error]] as const) : []),
  ]);
  for (const { question } of questions) {
    const { action: _action, principal, now, ...rest } = question;
    const { needs: _needs, grant, context, ...circumstances } = rest as Record<string, unknown>;
    line(out, '');
    fields(out, [
      ['asked', wordsOf(question).join('; ')],
      ['who', `@${principal.handle}, ${principal.kind}, in ${principal.groups.join(', ') || 'no group'}`],
      ['at', new Date(now).toISOString()],
      ...[['grant', grant] as const, ['statement', context] as const, ['with', circumstances] as const]
        .filter(([, value]) => value !== undefined && Object.keys(value as object).length > 0)
        .map(([name, value]) => [name, JSON.stringify(value)] as const),
    ]);
  }
  if (questions.length === 0)
    line(out, {
      text: 'what exactly was asked is not on record: it was before this version, or its content is erased',
      colour: 'dim',
    });
}

type Client = Awaited<ReturnType<typeof openServer>>['client'];

const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];

/** Of what the reader may read: their own, or all. */
async function findDecision(client: Client, id: string): Promise<LogEntryView> {
  // An id begins with the time it was made at, in base 32: the entry is looked for from a little before.
  const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
  const stamp = /^ent_([0-9a-hjkmnp-tv-z]{10})[0-9a-hjkmnp-tv-z]{16}$/.exec(id)?.[1];
  if (stamp === undefined)
    throw new CliError('usage', `explain \`${id}\`: this is not an entry`, {
      hint: 'they begin with `ent_`; `sally log` shows them with --json',
    });
  const at = stamp.split('').reduce((sum, char) => sum * 32 + alphabet.indexOf(char), 0);
  const since = new Date(Math.max(0, at - 3_600_000)).toISOString();
  for (const scope of ['mine', 'all'] as const)
    for (const kind of ['statement.denied', 'statement.begun', 'statement.judged', 'request.filed', undefined]) {
      let cursor: string | undefined;
      for (let pages = 0; pages < 25; pages += 1) {
        const from = cursor;
        const page: { readonly items: readonly LogEntryView[]; readonly next: string | null } | undefined =
          await attempt('read the log', () =>
            client.listLog({ query: { scope, kind, since, order: 'oldest', cursor: from, limit: 200 } }),
          ).catch((error: unknown) => {
            // Who may read their own alone is told that it isn't there, as a stranger is.
            if (scope === 'all' && error instanceof CliError) return undefined;
            throw error;
          });
        const found = page?.items.find((entry) => entry.id === id);
        if (found !== undefined) return found;
        // Entries are written soon after they happened: a day later it isn't there.
        const last = page?.items.at(-1);
        if (page === undefined || page.next === null || last === undefined || Date.parse(last.at) > at + 86_400_000)
          break;
        cursor = page.next;
      }
    }
  throw new CliError('not_found', `explain \`${id}\`: there is no such entry that you may read`);
}

/** What the same policies of the same version answered under that grant; at most a few. */
async function questionsOf(client: Client, grant: string, policies: readonly string[], version: string) {
  const { questionOf } = await import('#policy/replay.ts');
  const page = await attempt('read the log', () =>
    client.listLog({ query: { scope: 'mine', kind: 'statement.judged', grant, order: 'newest', limit: 200 } }),
  );
  const items = page.items.length > 0 ? page.items : await allOf(client, grant);
  return items
    .map((entry) => questionOf(entry))
    .filter((recorded) => recorded !== undefined)
    .filter(({ was }) => was.version === version && was.policies.join() === policies.join())
    .slice(0, 5);
}

async function allOf(client: Client, grant: string): Promise<readonly LogEntryView[]> {
  const page = await attempt('read the log', () =>
    client.listLog({ query: { scope: 'all', kind: 'statement.judged', grant, order: 'newest', limit: 200 } }),
  ).catch(() => undefined);
  return page?.items ?? [];
}
