/** `sally holds show`: one held statement or act in full. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt } from './exit.ts';
import { idArgument } from './parse-values.ts';
import { fields, json, line } from './screen.ts';
import { openServer } from './server.ts';
import { holdStateCell, isLiveHold } from './states.ts';
import { timeAndRelative } from './times.ts';

export function addHoldsShow(holds: Command, cli: Cli): void {
  examples(
    holds
      .command('show')
      .summary('one that is held, in full')
      .description(
        'Shows what is held in full: the exact text, what it needs, what of it is there, and what became of it.',
      )
      .argument('<hold>', 'the id, as psql shows it', idArgument('hold'))
      .action((id: string) => show(cli, id)),
    ['what psql waits for', 'sally holds show hld_01jd0000000000000000000000'],
  );
}

async function show(cli: Cli, id: string): Promise<void> {
  const server = await openServer(cli, 'signed-in');
  const hold = await attempt(`look up \`${id}\``, () => server.client.getHold({ params: { id }, query: {} }));
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, hold);
  const now = cli.now();
  line(
    out,
    { text: hold.subject === 'statement' ? `a statement on ${hold.resource ?? '?'}` : hold.title, colour: 'bold' },
    ', ',
    holdStateCell(hold, now),
  );
  line(out);
  // The screen shows what can't be seen: it is printed for somebody who answers for it.
  for (const text of hold.text === null ? hold.words : [hold.text])
    for (const part of text.split('\n')) line(out, `  ${part}`);
  line(out);
  fields(out, [
    ...hold.parameters.map((value) => ['with', value] as const),
    ['who', [hold.requester, ...hold.actsFor].map(({ handle }) => handle).join(', for ')],
    ['role', hold.role ?? undefined],
    ['grant', hold.grant === null ? undefined : `${hold.grant.id}: ${hold.grant.reason}`],
    ['ticket', hold.grant?.ticket ?? undefined],
    ['it does', hold.needs.length === 0 ? undefined : hold.needs.join(', ')],
    ['would touch', hold.preview === null ? undefined : `${hold.preview.rows} rows (${hold.preview.tag})`],
    ...hold.cures.map(({ words, policy, done }) => [done ? 'has' : 'needs', `${words} (${policy})`] as const),
    ...hold.signatures.map(
      ({ by, kind, at }) =>
        [kind === 'proof' ? 'proven by' : 'approved by', `${by.handle}, ${timeAndRelative(at, now)}`] as const,
    ),
    ['reason', hold.reason ?? undefined],
    ['held', timeAndRelative(hold.openedAt, now)],
    ['waits until', isLiveHold(hold) ? timeAndRelative(hold.expiresAt, now) : undefined],
    ['settled', hold.settled === null ? undefined : timeAndRelative(hold.settled.at, now)],
    ['by', hold.settled?.by?.handle],
    ['word', hold.settled?.word ?? undefined],
    ['page', server.page(`/holds/${hold.id}`)],
  ]);
  if (!isLiveHold(hold)) return;
  line(out);
  if (hold.you.canProve || hold.you.canApprove) line(out, 'Sign it with your passkey: ', `sally holds sign ${hold.id}`);
  if (hold.you.canDeny) line(out, 'Refuse it: ', `sally holds deny ${hold.id} --word "why"`);
  if (!hold.you.canProve && !hold.you.canApprove && hold.you.because !== null)
    line(out, { text: hold.you.because, colour: 'dim' });
}
