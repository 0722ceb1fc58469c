/** `sally whoami`: who is signed in here, until when, and what they may do. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt } from './exit.ts';
import { fields, json, line } from './screen.ts';
import { openServer } from './server.ts';
import { timeAndRelative } from './times.ts';

export function addWhoami(program: Command, cli: Cli): void {
  examples(
    program
      .command('whoami')
      .summary('who is signed in here')
      .description('Shows who is signed in here, until when, and what they may do besides asking for access.')
      .action(() => whoami(cli)),
    ['in a script: the handle', 'sally whoami --json | jq -r .principal.handle'],
  );
}

async function whoami(cli: Cli): Promise<void> {
  const server = await openServer(cli, 'signed-in');
  const me = await attempt('ask who you are', () => server.client.me());
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, me);
  const may = [
    me.may.administerPrincipals ? 'administer people' : '',
    me.may.administerConfiguration ? 'change the configuration' : '',
    me.may.seeAllGrants ? 'see all grants' : '',
    me.may.readLog === 'all' ? 'read the whole log' : '',
  ].filter((word) => word !== '');
  line(out, { text: me.principal.handle, colour: 'bold' }, ` (${me.name})`);
  fields(out, [
    ['server', server.url],
    ['groups', me.groups.length === 0 ? { text: 'none', colour: 'dim' } : me.groups.join(', ')],
    ['passkeys', String(me.authenticators)],
    ['you may', may.length === 0 ? undefined : may.join(', ')],
    ['signed in until', timeAndRelative(me.session.expiresAt, cli.now())],
  ]);
}
