/** `sally log verify`: checks a copy of the log, or a receipt, offline. No server is asked. */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Command } from 'commander';
import { verifyReceipt } from '#log/receipt.ts';
import { verifyCopy, type CopyFault, type CopyReader } from '#log/verify-copy.ts';
import type { Cli } from './cli.ts';
import { codeOf } from './config-folder.ts';
import { examples } from './examples.ts';
import { CliError } from './exit.ts';
import { trustedLogKey, type TrustedKey } from './log-key.ts';
import { fields, json, line, liveLine } from './screen.ts';

type Flags = { readonly key?: string; readonly receipt?: string };

export function addLogVerify(log: Command, cli: Cli): void {
  examples(
    log
      .command('verify')
      .summary('check a copy of the log, or a receipt, offline')
      .description(
        'Checks a copy of the log with nothing but the public key of the log: every file, entry, checkpoint and passkey ' +
          'signature in it. Each fault is named with its file, its place and the entry. No server is asked.',
      )
      .argument('[folder]', 'the copy that `sally log export` wrote')
      .option('--key <vkey>', 'the public key of the log; else the one that this machine learnt at its first sign-in')
      .option('--receipt <file>', 'check a receipt that `sally log prove` saved')
      .action((folder: string | undefined, flags: Flags) => verify(cli, folder, flags)),
    ['a copy', 'sally log verify copy'],
    ['on a machine that never saw the server', 'sally log verify copy --key "sally.example.com+1234abcd+AZ…"'],
    ['a receipt', 'sally log verify --receipt receipt.json'],
  );
}

async function verify(cli: Cli, folder: string | undefined, flags: Flags): Promise<void> {
  if ((folder === undefined) === (flags.receipt === undefined))
    throw new CliError('usage', 'verify: name a folder, or a receipt with --receipt', {
      hint: 'sally log verify FOLDER',
    });
  const trusted = await trustedLogKey(cli, flags.key);
  if (flags.receipt !== undefined) return verifyOneReceipt(cli, flags.receipt, trusted);
  return verifyFolder(cli, folder ?? '.', trusted);
}

async function verifyFolder(cli: Cli, folder: string, trusted: TrustedKey | undefined): Promise<void> {
  const copy = await openCopy(folder);
  const { out, err } = cli.screen;
  const live = err.isTty ? liveLine(err, cli.now) : undefined;
  live?.say(`checking ${folder}`);
  const report = await verifyCopy(copy, trusted === undefined ? {} : { vkey: trusted.vkey });
  live?.end();
  if (cli.shared().json) json(out, { ...report, trust: trusted ?? null });
  else {
    for (const fault of report.faults) line(out, { text: placeOf(fault), colour: 'red' }, `: ${fault.what}`);
    if (report.moreFaults > 0) line(out, `and ${report.moreFaults} more`);
    if (report.faults.length > 0) line(out);
    line(out, {
      text: report.ok ? 'The copy is whole.' : 'The copy is not what the log signed.',
      colour: report.ok ? 'green' : 'red',
    });
    fields(out, [
      ['log', report.origin ?? { text: 'unknown', colour: 'dim' }],
      ['key', trusted === undefined ? { text: 'the copy’s own', colour: 'yellow' } : trusted.words],
      ['entries', `${report.entries} of ${report.size}`],
      ['root', report.root],
      ['checkpoints', `${report.earlierCheckpoints + (report.origin === undefined ? 0 : 1)}`],
      [
        'proofs',
        `${report.checkedProofs} passkey signatures${report.unreadableProofs > 0 ? `, ${report.unreadableProofs} in contents that are sealed for you` : ''}`,
      ],
      [
        'contents',
        `${report.contentsOpened} opened, ${report.contentsSealed} sealed, ${report.contentsMissing} not there`,
      ],
      ['files', String(report.files)],
    ]);
  }
  if (trusted === undefined && !cli.shared().json) {
    line(
      err,
      { text: 'warning:', colour: 'yellow' },
      ' the key was taken from the copy itself: that shows that it is consistent, not whose log it is',
    );
    line(err, { text: 'hint:', colour: 'cyan' }, ' name the public key with --key, from somebody you trust');
  }
  if (!report.ok) {
    const count = report.faults.length + report.moreFaults;
    throw new CliError('verification_failed', `verify \`${folder}\`: ${count === 1 ? 'one fault' : `${count} faults`}`);
  }
}

function placeOf(fault: CopyFault): string {
  const place = [
    fault.offset === undefined ? '' : `byte ${fault.offset}`,
    fault.entryIndex === undefined ? '' : `entry #${fault.entryIndex}`,
  ].filter((part) => part !== '');
  return place.length === 0 ? fault.path : `${fault.path} (${place.join(', ')})`;
}

/** The files below a folder. A link is listed and not followed: it is no file of a copy. */
async function openCopy(folder: string): Promise<CopyReader> {
  let found;
  try {
    found = await readdir(folder, { recursive: true, withFileTypes: true });
  } catch (cause) {
    throw new CliError(
      codeOf(cause) === 'ENOENT' ? 'not_found' : 'usage',
      `verify \`${folder}\`: ${codeOf(cause) === 'ENOENT' ? 'there is no such folder' : codeOf(cause) === 'ENOTDIR' ? 'that is a file' : String(cause)}`,
      { hint: 'a copy is written by `sally log export FOLDER`', cause },
    );
  }
  const pathOf = (entry: (typeof found)[number]) =>
    relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/');
  const regular = new Set(found.filter((entry) => entry.isFile()).map(pathOf));
  const all = found.filter((entry) => !entry.isDirectory()).map(pathOf);
  if (all.length === 0)
    throw new CliError('not_found', `verify \`${folder}\`: it is empty`, {
      hint: 'a copy is written by `sally log export FOLDER`',
    });
  return {
    list: () => Promise.resolve(all),
    read: async (path) => (regular.has(path) ? new Uint8Array(await readFile(join(folder, path))) : undefined),
  };
}

async function verifyOneReceipt(cli: Cli, file: string, trusted: TrustedKey | undefined): Promise<void> {
  if (trusted === undefined)
    throw new CliError('usage', `verify \`${file}\`: no public key to check it with`, {
      hint: 'name the key of the log with --key; the server shows it at /api/v1/about',
    });
  let text;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new CliError(
      codeOf(cause) === 'ENOENT' ? 'not_found' : 'usage',
      `verify \`${file}\`: it can’t be read (${codeOf(cause) ?? String(cause)})`,
      { cause },
    );
  }
  const outcome = verifyReceipt(text, trusted.vkey);
  if (outcome.kind === 'refused')
    throw new CliError('verification_failed', `verify \`${file}\`: ${whyRefused[outcome.because]}`, {
      hint: `it was checked with ${trusted.words}`,
    });
  if (cli.shared().json) return json(cli.screen.out, { ...outcome, trust: trusted });
  line(cli.screen.out, { text: 'The receipt holds.', colour: 'green' });
  fields(cli.screen.out, [
    ['entry', outcome.entry.id],
    ['kind', outcome.entry.kind],
    ['at', outcome.entry.at],
    ['place', `#${outcome.index} of a log of ${outcome.size}`],
    ['key', trusted.words],
  ]);
}

const whyRefused = {
  malformed: 'it is no receipt in its one spelling',
  key_malformed: 'the key is not a public key',
  checkpoint_refused: 'its checkpoint is not signed by that key',
  not_in_the_tree: 'its entry is not in the tree that was signed',
} as const;
