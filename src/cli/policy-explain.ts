/** `sally policy explain`: why something was decided as it was, by which policies, and with what input. */
import type { Command } from 'commander';
import type { LogEntryView } from '#contract/views.ts';
import { parseId } from '#core/ids.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { findEntry } from './find-entry.ts';
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
      .argument(
        '<what>',
        'an entry of a statement or a request, by number or id as `sally log` shows it, or a denial: `den_…`',
      )
      .action((entry: string) => policyExplain(cli, entry)),
    ['entry number 12', 'sally policy explain 12'],
    ['a refused statement, as psql named it', 'sally policy explain den_01jd0000000000000000000000'],
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
    throw new CliError('not_found', `explain \`${id}\`: no policy was asked about it`, {
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

/** The entry that names the policies: of an ended statement its beginning, of a denial its refusal. */
async function findDecision(client: Client, text: string): Promise<LogEntryView> {
  const denial = parseId('denial', text);
  if (denial !== undefined) {
    const { session } = await attempt(`explain \`${text}\``, () => client.getDenial({ params: { id: denial } }));
    const found = await findOf(client, session, 'statement.denied', ({ subject }) => subject['denial'] === denial);
    if (found !== undefined) return found;
    throw new CliError('not_found', `explain \`${text}\`: its entry isn't in the log yet`, {
      hint: 'try again in a moment',
    });
  }
  const entry = await findEntry(client, 'explain', text);
  const session = parseId('session', entry.subject['session']);
  if (entry.kind !== 'statement.ended' || session === undefined) return entry;
  const { statement } = entry.subject;
  return (
    (await findOf(client, session, 'statement.begun', ({ subject }) => subject['statement'] === statement)) ?? entry
  );
}

async function findOf(
  client: Client,
  session: string,
  kind: string,
  isIt: (entry: LogEntryView) => boolean,
): Promise<LogEntryView | undefined> {
  for (const scope of ['mine', 'all'] as const) {
    let cursor: string | undefined;
    do {
      const at = cursor;
      const page: { readonly items: readonly LogEntryView[]; readonly next: string | null } = await attempt(
        'read the log',
        () => client.listLog({ query: { scope, kind, session, order: 'newest', cursor: at, limit: 200 } }),
      ).catch((error: unknown) => {
        // Who may not read everybody's entries has no such entry.
        if (scope === 'all' && error instanceof CliError && error.code === 'forbidden')
          return { items: [], next: null };
        throw error;
      });
      const found = page.items.find(isIt);
      if (found !== undefined) return found;
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);
  }
  return undefined;
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
