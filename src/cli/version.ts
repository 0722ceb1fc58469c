/** `sally version`: which version this is, and which the server is. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { examples } from './examples.ts';
import { fields, json, line } from './screen.ts';
import { createStrangerClient, trustCa } from './server.ts';
import { chooseServer, readServer } from './servers.ts';

/** The version of this program. */
export function ownVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

export function addVersion(program: Command, cli: Cli): void {
  examples(
    program
      .command('version')
      .summary('the version of sally, and of the server')
      .description('Shows the version of this program and, when it can be reached, of the server.')
      .action(() => version(cli)),
    ['only this program', 'sally --version'],
  );
}

async function version(cli: Cli): Promise<void> {
  const url = await chooseServer(cli.env, cli.shared().server);
  trustCa(cli, url, (await readServer(cli.env, url))?.caFile);
  const about = await createStrangerClient(url)
    .about()
    .catch(() => undefined);
  const { out } = cli.screen;
  const own = ownVersion();
  if (cli.shared().json)
    return json(out, {
      version: own,
      node: process.versions.node,
      server: about === undefined ? null : { url, version: about.version },
    });
  line(out, 'sally ', own);
  fields(out, [
    ['node', process.versions.node],
    ['server', about === undefined ? { text: `${url} can’t be reached`, colour: 'dim' } : `${about.version} at ${url}`],
  ]);
}
