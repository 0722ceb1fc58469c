/** `sally holds`: what is held: statements and acts that wait for somebody's passkey. */
import { Option, type Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { addHoldsDeny } from './holds-deny.ts';
import { addHoldsShow } from './holds-show.ts';
import { addHoldsSign } from './holds-sign.ts';
import { countFlag } from './parse-values.ts';
import { json, line, table } from './screen.ts';
import { allPages, openServer } from './server.ts';
import { holdStateCell } from './states.ts';
import { relative } from './times.ts';

const states = ['waiting', 'cured', 'released', 'denied', 'withdrawn', 'expired', 'ended', 'live'] as const;
type State = (typeof states)[number];
type Flags = { readonly mine?: true; readonly all?: true; readonly state?: State; readonly limit: number };

export function addHolds(program: Command, cli: Cli): void {
  const holds = program
    .command('holds')
    .summary('list what is held and waits for a passkey')
    .description(
      'Lists statements and acts of administration that are held until they are proven or approved (`sally holds` is ' +
        '`sally holds list`), shows one, signs one in the browser, or refuses one.',
    );
  examples(
    holds
      .command('list', { isDefault: true })
      .summary('list what is held')
      .description('Lists what you can sign now, what is held of your own, or all that you may see.')
      .option('--mine', 'your own, settled ones too')
      .option('--all', 'all that you may see')
      .addOption(new Option('--state <state>', 'only those in this state').choices(states))
      .option('--limit <n>', 'how many at most', countFlag, 50)
      .action((flags: Flags) => list(cli, flags)),
    ['what waits for me', 'sally holds'],
    ['what became of mine', 'sally holds --mine'],
  );
  addHoldsShow(holds, cli);
  addHoldsSign(holds, cli);
  addHoldsDeny(holds, cli);
}

async function list(cli: Cli, flags: Flags): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const box = flags.all === true ? 'all' : flags.mine === true ? 'mine' : 'inbox';
  const state = flags.state ?? (box === 'inbox' ? 'live' : undefined);
  const found = await allPages('list what is held', flags.limit, (cursor, limit) =>
    client.listHolds({ query: { box, cursor, limit, ...(state === undefined ? {} : { state }) } }),
  );
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, found);
  if (found.items.length === 0) {
    line(out, box === 'inbox' ? 'Nothing that is held waits for you.' : 'Nothing is held.');
    return;
  }
  const now = cli.now();
  table(
    out,
    ['HOLD', 'WHO', 'ON', 'STATE', 'HELD', 'WHAT'],
    found.items.map((hold) => [
      hold.id,
      hold.requester.handle,
      hold.resource ?? '–',
      holdStateCell(hold, now),
      relative(hold.openedAt, now),
      hold.title,
    ]),
  );
  if (found.next !== null) line(out, { text: `there are more: --limit ${flags.limit * 2}`, colour: 'dim' });
}
