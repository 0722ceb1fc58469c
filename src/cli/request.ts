/** `sally request`: asks for a role. At a terminal, what isn't given as a flag is asked for. */
import type { Command } from 'commander';
import { formatDuration, parseDuration, type Duration } from '#core/instant.ts';
import type { RequestView, RoleView } from '#contract/views.ts';
import { activateGrant } from './activate.ts';
import { askText, askWhich, mustAsk } from './ask.ts';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { approvers } from './ls.ts';
import { durationFlag, idArgument, parseMoment, timeoutOption } from './parse-values.ts';
import { fields, json, line } from './screen.ts';
import { openServer, type Server } from './server.ts';
import { left, relative, span, timeAndRelative } from './times.ts';
import { longPoll, waitFor } from './waiting.ts';

type Flags = {
  readonly for?: number;
  readonly reason?: string;
  readonly ticket?: string;
  readonly start?: string;
  readonly fromDenial?: string;
  readonly once?: true;
  readonly wait?: true;
  readonly activate?: true;
  readonly timeout?: number;
  readonly browser: boolean;
};

export function addRequest(program: Command, cli: Cli): void {
  examples(
    program
      .command('request')
      .summary('ask for a role')
      .description(
        'Asks for a role on a resource, for a while and with a reason. The right people see it at once; when enough of ' +
          'them have approved it, you activate the grant with your passkey and its clock starts.',
      )
      .argument('[role]', 'as `sally ls` shows it: orders/support-read')
      .option('--for <duration>', 'for how long: 30m, 2h, 1d', durationFlag)
      .option('--reason <text>', 'why; the approver reads it, and it stays in the log')
      .option('--ticket <id>', 'the ticket it belongs to')
      .option('--start <time>', 'not before then: 14:30, 30m (from now), 2026-11-23T09:00:00Z', (text) =>
        parseMoment(text, cli.now(), 'future'),
      )
      .option('--from-denial <id>', 'for the statement that was refused under this id', idArgument('denial'))
      .option('--once', 'with --from-denial: for that statement only, one run of it')
      .option('--wait', 'wait until it is decided')
      .option('--activate', 'wait, then activate the grant')
      .addOption(timeoutOption('how long to wait'))
      .option('--no-browser', 'with --activate: print the address of the page only')
      .action((role: string | undefined, flags: Flags) => request(cli, role, flags)),
    [
      'ask and wait for the answer',
      'sally request orders/support-read --for 2h --reason "INC-4211 refund stuck" --wait',
    ],
    [
      'ask for tomorrow',
      'sally request orders/fix-orders --for 1h --start 2026-11-23T09:00:00Z --reason "planned fix"',
    ],
    [
      'ask for what was refused, for that statement alone',
      'sally request --from-denial den_01jd0000000000000000000000 --once --reason "INC-4211"',
    ],
    ['let it ask you', 'sally request'],
  );
}

async function request(cli: Cli, roleName: string | undefined, flags: Flags): Promise<void> {
  const server = await openServer(cli, 'signed-in');
  const { client } = server;
  if (flags.once === true && flags.fromDenial === undefined)
    throw new CliError('usage', 'ask for a role: --once is for a statement that was refused', {
      hint: 'add --from-denial with the id that the refusal told you',
    });
  const denial =
    flags.fromDenial === undefined
      ? undefined
      : await attempt(`look up \`${flags.fromDenial}\``, () =>
          client.getDenial({ params: { id: flags.fromDenial ?? '' } }),
        );
  const given = roleName ?? denial?.roles[0];
  if (denial !== undefined && given === undefined)
    throw new CliError('refused', 'ask for what was refused: no role that you may ask for would give it', {
      hint: 'name a ROLE to ask for it in any case',
    });
  // One run needs no long time: a quarter of an hour to get to it.
  const flagsNow = flags.once === true && flags.for === undefined ? { ...flags, for: 15 * 60_000 } : flags;
  const wanted = await whatIsWanted(cli, server, given, flagsNow);
  const filed = await attempt(`ask for \`${wanted.role}\``, () =>
    client.fileRequest({
      body: {
        ...wanted,
        ...(flags.ticket === undefined ? {} : { ticket: flags.ticket }),
        ...(flags.start === undefined ? {} : { startsAt: flags.start }),
        ...(denial === undefined ? {} : { denial: denial.id }),
        ...(flags.once === true ? { once: true as const } : {}),
      },
    }),
  );
  const { out, err } = cli.screen;
  const waits = flags.wait === true || flags.activate === true;
  const asJson = cli.shared().json;
  const said = waits || asJson ? err : out;
  if (!asJson) {
    // Apart from the questions, where there were any.
    if (flags.reason === undefined) line(said);
    line(said, 'Asked for ', { text: filed.role, colour: 'bold' }, ` for ${span(filed.seconds * 1000)}`);
    fields(said, [
      ['request', filed.id],
      ['needs', approvers({ groups: filed.approverGroups, count: filed.approvalsNeeded })],
      ['starts', filed.startsAt === null ? undefined : timeAndRelative(filed.startsAt, cli.now())],
      ['statement', filed.statement === null ? undefined : shortened(filed.statement.text)],
      ['for', filed.statement?.once === true ? 'this statement only, once' : undefined],
      ['waits until', timeAndRelative(filed.expiresAt, cli.now())],
      ['page', server.page(`/requests/${filed.id}`)],
    ]);
  }
  if (!waits) {
    if (asJson) json(out, filed);
    else line(out, { text: 'Wait for the answer with ', colour: 'dim' }, `sally requests show ${filed.id} --wait`);
    return;
  }
  const decided = await waitForDecision(cli, server, filed, flags.timeout);
  if (decided.state !== 'approved' || decided.grant === null) {
    if (asJson) json(out, decided);
    throw notApproved(decided);
  }
  if (flags.activate !== true) return showDecided(cli, decided);
  if (!asJson) line(err, decidedWords(decided));
  const grant = await attempt('look up the grant', () =>
    client.getGrant({ params: { id: decided.grant ?? '' }, query: {} }),
  );
  await activateGrant(cli, server, grant, { timeoutMs: flags.timeout, browser: flags.browser, show: true });
}

/** Role, duration and reason: from flags, and at a terminal from questions. */
async function whatIsWanted(
  cli: Cli,
  server: Server,
  roleName: string | undefined,
  flags: Flags,
): Promise<{ readonly role: string; readonly seconds: number; readonly reason: string }> {
  if (roleName !== undefined && flags.for !== undefined && flags.reason !== undefined)
    return { role: roleName, seconds: wholeSeconds(flags.for), reason: flags.reason };
  const missing = [
    roleName === undefined ? 'ROLE' : '',
    flags.for === undefined ? '--for' : '',
    flags.reason === undefined ? '--reason' : '',
  ].filter((flag) => flag !== '');
  mustAsk(
    cli,
    `ask for a role: ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} missing`,
    'sally request orders/support-read --for 2h --reason "why"',
  );
  const { items } = await attempt('list the roles', () => server.client.listRoles());
  const role = await whichRole(items, roleName);
  const atMost = formatDuration((role.maxSeconds * 1000) as Duration);
  const duration =
    flags.for ??
    parseDuration(
      await askText(`For how long? (${atMost} at most)`, {
        placeholder: formatDuration((Math.min(3600, role.maxSeconds) * 1000) as Duration),
        check: (text) => {
          const given = parseDuration(text);
          if (given === undefined) return 'Write a duration as in 30m or 2h';
          return given > role.maxSeconds * 1000 ? `At most ${atMost}` : undefined;
        },
      }),
    );
  const reason =
    flags.reason ??
    (await askText('Why? The approver reads this', {
      check: (text) => (text.trim().length < 3 ? 'A few words at least' : undefined),
    }));
  return { role: role.role, seconds: wholeSeconds(duration ?? 0), reason };
}

async function whichRole(items: readonly RoleView[], name: string | undefined): Promise<RoleView> {
  const askable = items.filter((role) => role.mayRequest);
  if (name !== undefined) {
    const named = items.find((role) => role.role === name);
    if (named === undefined)
      throw new CliError('not_found', `ask for \`${name}\`: there is no such role for you`, {
        hint: '`sally ls` shows what you can ask for',
      });
    return named;
  }
  if (askable.length === 0) throw new CliError('not_found', 'ask for a role: there is none that you can ask for');
  return askWhich(
    'Which role?',
    askable.map((role) => ({ value: role, label: role.role, hint: role.description })),
  );
}

/** A statement on one line. */
function shortened(text: string): string {
  const oneLine = text.replaceAll(/\s+/g, ' ').trim();
  return oneLine.length > 80 ? `${oneLine.slice(0, 79)}…` : oneLine;
}

/** Durations are whole seconds; what is asked for is never rounded up. */
function wholeSeconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}

/** Waits until a request is no longer pending. */
export async function waitForDecision(
  cli: Cli,
  server: Server,
  pending: RequestView,
  timeoutMs: number | undefined,
): Promise<RequestView> {
  if (pending.state !== 'pending') return pending;
  return waitFor(
    cli,
    {
      what: 'wait for an approval',
      timeoutMs,
      hint: `the request stays as it is: \`sally requests show ${pending.id} --wait\`, or take it back with \`sally withdraw ${pending.id}\``,
    },
    (signal, live) =>
      longPoll(cli, live, signal, {
        ask: (waitSeconds, stop) =>
          attempt('look at the request', () =>
            server.client.getRequest({ params: { id: pending.id }, query: { waitSeconds } }, stop),
          ),
        isOver: (request) => request.state !== 'pending',
        describe: (request) =>
          `waiting for ${request.approverGroups.join(', ')}: ${request.approvals.length} of ${request.approvalsNeeded} approved, ${left(request.expiresAt, cli.now())} left`,
      }),
  );
}

/** What was decided, and how to go on. */
export function showDecided(cli: Cli, request: RequestView): void {
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, request);
  line(out, decidedWords(request));
  if (request.grant === null) return;
  fields(out, [['grant', request.grant]]);
  const early = request.startsAt !== null && Date.parse(request.startsAt) > cli.now();
  line(
    out,
    {
      text: early ? `Activate it ${relative(request.startsAt ?? '', cli.now())} with ` : 'Activate it with ',
      colour: 'dim',
    },
    `sally activate ${request.grant}`,
  );
}

function decidedWords(request: RequestView): string {
  return `${request.role} was approved by ${request.approvals.map((a) => a.by.handle).join(', ')}`;
}

export function notApproved(request: RequestView): CliError {
  if (request.denial !== null)
    return new CliError('refused', `${request.role} was denied by ${request.denial.by.handle}: ${request.denial.word}`);
  return new CliError('refused', `${request.role} was not approved: the request is ${request.state}`);
}
