/** Opening a page in the person's browser. */
import { spawn } from 'node:child_process';
import type { Cli } from './cli.ts';
import { line } from './screen.ts';

/**
 * Opens the URL: with the program that SALLY_BROWSER names (and its arguments, separated by spaces), else as the system
 * does. False when nothing could be started; the URL is always printed, for another window or another machine.
 */
export async function openInBrowser(cli: Cli, url: string, options: { readonly open: boolean }): Promise<boolean> {
  const command = options.open ? browserCommand(cli) : undefined;
  if (command !== undefined && (await start(command, url))) {
    line(cli.screen.err, 'Opened in your browser: ', { text: url, colour: 'dim' });
    return true;
  }
  line(cli.screen.err, 'Open this page in your browser:');
  line(cli.screen.err, '  ', { text: url, colour: 'cyan' });
  return false;
}

function browserCommand(cli: Cli): readonly [string, ...string[]] | undefined {
  const [named, ...args] = (cli.env['SALLY_BROWSER'] ?? '').trim().split(/\s+/);
  if (named !== undefined && named !== '') return [named, ...args];
  if (process.platform === 'darwin') return ['open'];
  // Over SSH and in containers there is no browser to open; xdg-open would start a text browser in this terminal.
  if (cli.env['DISPLAY'] === undefined && cli.env['WAYLAND_DISPLAY'] === undefined) return undefined;
  return ['xdg-open'];
}

function start([program, ...args]: readonly [string, ...string[]], url: string): Promise<boolean> {
  return new Promise((resolve) => {
    // The URL is an argument and never part of a command line, whatever it holds.
    const child = spawn(program, [...args, url], { stdio: 'ignore', detached: true });
    child.once('error', () => resolve(false));
    child.once('spawn', () => {
      child.unref();
      resolve(true);
    });
  });
}
