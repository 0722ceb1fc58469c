/** `sally log prove`: saves a receipt that stands alone. */
import { open } from 'node:fs/promises';
import type { Command } from 'commander';
import { parseId } from '#core/ids.ts';
import { canonicalJson, type Json } from '#core/jcs.ts';
import { verifyReceipt } from '#log/receipt.ts';
import type { Cli } from './cli.ts';
import { codeOf } from './config-folder.ts';
import { examples } from './examples.ts';
import { attempt, CliError } from './exit.ts';
import { findEntry } from './find-entry.ts';
import { trustedLogKey } from './log-key.ts';
import { json, line } from './screen.ts';
import { openServer } from './server.ts';

export function addLogProve(log: Command, cli: Cli): void {
  examples(
    log
      .command('prove')
      .summary('save a receipt for one entry')
      .description(
        'Saves a receipt: the entry, its path through the tree, and the signed checkpoint. It stands alone: anybody with ' +
          'the public key of the log can check it, years later and without a server.',
      )
      .argument('<entry>', 'its number, as `sally log` shows it, or its id')
      .option('-o, --output <file>', 'where to; `-` is standard output')
      .action((id: string, flags: { readonly output?: string }) => prove(cli, id, flags.output)),
    ['keep it, and check it', 'sally log prove 12 -o receipt.json && sally log verify --receipt receipt.json'],
  );
}

async function prove(cli: Cli, given: string, output: string | undefined): Promise<void> {
  const { client } = await openServer(cli, 'signed-in');
  const id = parseId('entry', given) ?? (await findEntry(client, 'prove', given)).id;
  const receipt = await attempt(`prove \`${id}\``, () => client.proveEntry({ params: { id } }));
  // The one spelling that a verifier reads; it came as JSON, so it is JSON.
  const text = `${canonicalJson(receipt as Json)}\n`;
  const trusted = await trustedLogKey(cli, undefined);
  if (trusted !== undefined) {
    const outcome = verifyReceipt(text, trusted.vkey);
    if (outcome.kind === 'refused')
      throw new CliError(
        'verification_failed',
        `prove \`${id}\`: the receipt does not verify with ${trusted.words} (${outcome.because.replaceAll('_', ' ')})`,
      );
  }
  if (output === '-') {
    cli.screen.out.write(text);
    return;
  }
  const file = output ?? `${id}.receipt.json`;
  await saveNew(file, text);
  if (cli.shared().json) return json(cli.screen.out, receipt);
  line(cli.screen.out, 'Saved ', { text: file, colour: 'bold' });
  line(cli.screen.out, { text: `Check it with \`sally log verify --receipt ${file}\``, colour: 'dim' });
}

async function saveNew(file: string, text: string): Promise<void> {
  try {
    const handle = await open(file, 'wx', 0o600);
    await handle.writeFile(text);
    await handle.close();
  } catch (cause) {
    throw new CliError(
      'usage',
      `save \`${file}\`: ${codeOf(cause) === 'EEXIST' ? 'there is such a file already' : (codeOf(cause) ?? String(cause))}`,
      {
        hint: 'name another with -o FILE',
        cause,
      },
    );
  }
}
