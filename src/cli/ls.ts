/** `sally ls`: what you can ask for, and what you have. */
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { attempt } from './exit.ts';
import { json, line, table, type Cell } from './screen.ts';
import { allPages, openServer } from './server.ts';
import { grantStateCell, grantTimeCell } from './states.ts';
import { span } from './times.ts';

export function addLs(program: Command, cli: Cli): void {
  examples(
    program
      .command('ls')
      .summary('what you can ask for, and what you have')
      .description('Lists the roles that you can ask for, and the access that you have or that waits to be activated.')
      .option('-l, --long', 'with what each role permits')
      .action((flags: { readonly long?: true }) => ls(cli, flags.long === true)),
    ['what can I ask for, exactly', 'sally ls --long'],
  );
}

async function ls(cli: Cli, long: boolean): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const [roles, grants] = await Promise.all([
    attempt('list the roles', () => client.listRoles()),
    allPages('list your grants', 1000, (cursor, limit) =>
      client.listGrants({ query: { scope: 'mine', state: 'live', cursor, limit } }),
    ),
  ]);
  const { out } = cli.screen;
  if (cli.shared().json) return json(out, { roles, grants });

  const now = cli.now();
  if (grants.items.length > 0) {
    line(out, { text: 'You have', colour: 'bold' });
    table(
      out,
      ['ROLE', 'STATE', 'TIME', 'GRANT'],
      grants.items.map((grant) => [
        grant.role,
        grantStateCell(grant),
        grantTimeCell(grant, now),
        { text: grant.id, colour: 'dim' },
      ]),
    );
    line(out);
  }
  if (roles.items.length === 0) {
    line(out, 'There is nothing that you can ask for.');
    return;
  }
  line(out, { text: 'You can ask for', colour: 'bold' });
  table(
    out,
    ['ROLE', 'AT MOST', 'APPROVED BY', 'WHAT FOR'],
    roles.items.map((role): Cell[] => [
      role.role,
      span(role.maxSeconds * 1000),
      approvers(role.approvers),
      role.pendingRequest === null ? role.description : { text: `you asked: ${role.pendingRequest}`, colour: 'yellow' },
    ]),
  );
  if (long)
    for (const role of roles.items) {
      line(out);
      line(out, { text: role.role, colour: 'bold' }, `  ${role.resourceDescription}`);
      for (const { object, actions } of role.permissions)
        line(
          out,
          `  ${object}: `,
          actions.map((a) => (a.columns === null ? a.action : `${a.action} (${a.columns.join(', ')})`)).join(', '),
        );
    }
}

export function approvers(needs: { readonly groups: readonly string[]; readonly count: number }): string {
  const people = needs.count === 1 ? 'one' : String(needs.count);
  return `${people} of ${needs.groups.join(', ')}`;
}
