/** The parent's side of `gateway-process.ts`. */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Role } from '#core/role.ts';
import type { GatewayEvent } from '#gateway/records.ts';
import type { Asked, GatewayProcessOptions, GatewayState, Login, Told } from './gateway-process.ts';

export type GatewayChild = {
  readonly pid: number;
  readonly port: number;
  readonly give: (role: Role, handle?: string) => Promise<Login>;
  readonly state: () => Promise<GatewayState>;
  /** The same after garbage was collected. */
  readonly settled: () => Promise<GatewayState>;
  /** Resolves when the client with this application name has been let in: from then on it is a session. */
  readonly opened: (name: string) => Promise<void>;
  /** All events of the session that had this application name. Resolves when it has ended and everything is stored. */
  readonly session: (name: string) => Promise<readonly GatewayEvent[]>;
  /** Faults that it has told of, and `the process ended …` when it did so by itself. */
  readonly faults: readonly string[];
  readonly hasEnded: () => boolean;
  readonly stop: () => Promise<void>;
};

export async function startGatewayChild(options: GatewayProcessOptions): Promise<GatewayChild> {
  const child = fork(join(import.meta.dirname, 'gateway-process.ts'), { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
  const faults: string[] = [];
  const waiting = new Map<number, (value: unknown) => void>();
  let stderr = '';
  let next = 1;
  let isStopping = false;
  let hasEnded = false;
  child.stderr?.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-4000)));
  const ended = new Promise<void>((resolve) =>
    child.once('exit', (code, signal) => {
      hasEnded = true;
      if (!isStopping) faults.push(`the process ended with ${signal ?? code}: ${stderr}`);
      resolve();
    }),
  );
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`the gateway's process did not start: ${stderr}`)));
    child.on('message', (told: Told) => {
      switch (told.kind) {
        case 'ready':
          return resolve(told.port);
        case 'fault':
          return void faults.push(told.what);
        case 'answer': {
          const wake = waiting.get(told.id);
          waiting.delete(told.id);
          return wake?.(told.value);
        }
        default:
          return told satisfies never;
      }
    });
    child.send(options);
  });
  const ask = <T>(asked: Asked): Promise<T> =>
    new Promise((resolve, reject) => {
      if (hasEnded) return reject(new Error('the gateway has ended'));
      const id = next;
      next += 1;
      waiting.set(id, resolve as (value: unknown) => void);
      child.send({ id, asked });
    });
  return {
    pid: child.pid ?? 0,
    port,
    give: (role, handle = 'ada') => ask({ ask: 'give', role, handle }),
    state: () => ask({ ask: 'state' }),
    settled: () => ask({ ask: 'settled' }),
    opened: (name) => ask({ ask: 'opened', name }),
    session: (name) => ask({ ask: 'session', name }),
    faults,
    hasEnded: () => hasEnded,
    async stop() {
      if (hasEnded) return;
      isStopping = true;
      await Promise.race([ask({ ask: 'stop' }), ended]);
      await ended;
    },
  };
}
