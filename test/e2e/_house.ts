/** A running Sallyport as the story uses it: a process of its own, started and killed as an operator would. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const root = resolve(import.meta.dirname, '../..');
export const sallyProgram = join(root, 'bin', 'sally');

export type Ready = {
  readonly pid: number;
  readonly version: string;
  readonly console: { readonly url: string };
  readonly postgres: { readonly host: string; readonly port: number; readonly caFile: string };
  readonly dataDir: string;
  readonly sample: {
    readonly host: string;
    readonly port: number;
    readonly database: string;
    readonly adminUser: string;
    readonly adminPasswordFile: string;
    readonly socketDir: string;
    readonly caFile: string;
  };
  readonly enrolmentLink: { readonly url: string; readonly expiresAt: string } | null;
  readonly logKey: string;
};

export type House = {
  readonly folder: string;
  readonly ready: () => Ready;
  readonly start: () => Promise<number>;
  /** As pulling the plug: no word, no cleaning up. */
  readonly kill: () => Promise<void>;
  readonly stop: () => Promise<number | null>;
  /** Moves the server's clock. */
  readonly moveClock: (milliseconds: number) => void;
  readonly output: () => string;
};

export function openHouse(): House {
  const folder = mkdtempSync(join(tmpdir(), 'sally-story-'));
  const clockFile = join(folder, 'clock');
  const readyFile = join(folder, 'ready.json');
  let offset = 0;
  let child: ChildProcess | undefined;
  let ready: Ready | undefined;
  let output = '';
  /** Kept over restarts: the address of the console is part of what passkeys sign for. */
  let ports = { console: '127.0.0.1:0', postgres: '127.0.0.1:0' };

  const ended = (process: ChildProcess): Promise<number | null> =>
    process.exitCode !== null || process.signalCode !== null
      ? Promise.resolve(process.exitCode)
      : new Promise((done) => process.once('exit', (code) => done(code)));

  return {
    folder,
    ready: () => {
      if (ready === undefined) throw new Error('the server has not been started');
      return ready;
    },
    start: async () => {
      const started = performance.now();
      child = spawn(
        sallyProgram,
        ['up', '--data', join(folder, 'data'), '--console', ports.console, '--postgres', ports.postgres].concat([
          '--ready-file',
          readyFile,
          '--test-clock',
          clockFile,
        ]),
        { cwd: folder, env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] },
      );
      child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
      child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
      const pid = child.pid;
      for (;;) {
        if (child.exitCode !== null)
          throw new Error(`the server ended with ${child.exitCode}:\n${output.slice(-4000)}`);
        if (existsSync(readyFile)) {
          const document = JSON.parse(readFileSync(readyFile, 'utf8')) as Ready;
          if (document.pid === pid || pid === undefined || document.pid !== ready?.pid) {
            ready = document;
            break;
          }
        }
        if (performance.now() - started > 120_000)
          throw new Error(`the server was not ready in two minutes:\n${output.slice(-4000)}`);
        await sleep(50);
      }
      ports = {
        console: `127.0.0.1:${new URL(ready.console.url).port}`,
        postgres: `127.0.0.1:${ready.postgres.port}`,
      };
      return performance.now() - started;
    },
    kill: async () => {
      if (child === undefined) return;
      process.kill(ready?.pid ?? child.pid ?? 0, 'SIGKILL');
      await ended(child);
    },
    stop: async () => {
      if (child === undefined) return null;
      if (child.exitCode === null && child.signalCode === null) process.kill(ready?.pid ?? child.pid ?? 0, 'SIGTERM');
      return await ended(child);
    },
    moveClock: (milliseconds) => {
      offset += milliseconds;
      writeFileSync(clockFile, String(offset));
    },
    output: () => output,
  };
}
