/** `sally requests show`: one request in full, and what can be done about it. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt } from './exit.ts';
import { idArgument, timeoutOption } from './parse-values.ts';
import { notApproved, showDecided, waitForDecision } from './request.ts';
import { fields, json, line } from './screen.ts';
import { openServer } from './server.ts';
import { requestStateCell } from './states.ts';
import { span, timeAndRelative } from './times.ts';

type Flags = { readonly wait?: true; readonly timeout?: number };

export function addRequestsShow(requests: Command, cli: Cli): void {
  examples(
    requests
      .command('show')
      .summary('one request in full')
      .description(
        'Shows a request in full. Approving needs your passkey, so it is done in the console: the page is named.',
      )
      .argument('<request>', 'the id of the request', idArgument('request'))
      .option('--wait', 'wait until it is decided')
      .addOption(timeoutOption('how long to wait'))
      .action((id: string, flags: Flags) => show(cli, id, flags)),
    ['wait for the answer', 'sally requests show req_01jd0000000000000000000000 --wait'],
  );
}

async function show(cli: Cli, id: string, flags: Flags): Promise<void> {
  const server = await openServer(cli, 'signed-in');
  const request = await attempt(`look up the request \`${id}\``, () =>
    server.client.getRequest({ params: { id }, query: {} }),
  );
  const { out } = cli.screen;
  if (flags.wait === true) {
    const decided = await waitForDecision(cli, server, request, flags.timeout);
    showDecided(cli, decided);
    if (decided.state !== 'approved') throw notApproved(decided);
    return;
  }
  if (cli.shared().json) return json(out, request);
  const now = cli.now();
  line(
    out,
    { text: request.role, colour: 'bold' },
    ` for ${span(request.seconds * 1000)}, `,
    requestStateCell(request.state),
  );
  fields(out, [
    ['request', request.id],
    ['who', request.requester.handle],
    ['reason', request.reason],
    ['ticket', request.ticket ?? undefined],
    ['filed', timeAndRelative(request.filedAt, now)],
    ['starts', request.startsAt === null ? undefined : timeAndRelative(request.startsAt, now)],
    ['waits until', request.state === 'pending' ? timeAndRelative(request.expiresAt, now) : undefined],
    ['approvals', `${request.approvals.length} of ${request.approvalsNeeded} (${request.approverGroups.join(', ')})`],
    ...request.approvals.map((a) => ['approved by', `${a.by.handle}, ${timeAndRelative(a.at, now)}`] as const),
    ['denied by', request.denial === null ? undefined : `${request.denial.by.handle}: ${request.denial.word}`],
    ['grant', request.grant ?? undefined],
    ['page', server.page(`/requests/${request.id}`)],
  ]);
  if (request.permissions.length > 0) {
    line(out);
    line(out, { text: 'It would permit', colour: 'bold' });
    fields(
      out,
      request.permissions.map(({ object, actions }) => [
        object,
        actions.map((a) => (a.columns === null ? a.action : `${a.action} (${a.columns.join(', ')})`)).join(', '),
      ]),
    );
  }
  if (request.state !== 'pending') return;
  line(out);
  if (request.you.mayDecide)
    line(out, 'Approve it with your passkey at the page above, or: ', `sally deny ${request.id} --word "why"`);
  else if (request.you.isRequester)
    line(out, { text: 'Take it back with ', colour: 'dim' }, `sally withdraw ${request.id}`);
  else if (request.you.because !== null)
    line(out, { text: `You may not decide it: ${request.you.because}`, colour: 'dim' });
}
