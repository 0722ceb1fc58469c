/**
 * Processes of our own that do as they are told: the parent calls by name over the IPC channel, the child answers. A child
 * ends when its parent does.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

type Call = { readonly id: number; readonly name: string; readonly input: unknown };
type Answer = { readonly id: number; readonly output?: unknown; readonly fault?: string };

/** One function per thing that can be asked of the child. */
type Handlers = { readonly [name: string]: (input: never) => unknown };

export type Child<H extends Handlers> = AsyncDisposable & {
  readonly pid: number;
  readonly call: <K extends keyof H & string>(
    name: K,
    ...input: Parameters<H[K]>[0] extends undefined ? [] : [Parameters<H[K]>[0]]
  ) => Promise<Awaited<ReturnType<H[K]>>>;
};

/**
 * Starts `file` of this folder. `H` are the handlers that it serves. More file descriptors than usual are asked for, and
 * what the system gives is taken. `nodeFlags` come before the file.
 */
export async function startChild<H extends Handlers>(
  file: string,
  options: { readonly nodeFlags?: readonly string[]; readonly environment?: Readonly<Record<string, string>> } = {},
): Promise<Child<H>> {
  const program = [process.execPath, ...(options.nodeFlags ?? []), join(import.meta.dirname, file)];
  const child = spawn(
    '/bin/sh',
    ['-c', 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$@"', 'sh', ...program],
    {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
      env: { ...process.env, ...options.environment },
    },
  );
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let last = 0;
  const started = new Promise<void>((resolve, reject) => {
    child.once('exit', (code, signal) => {
      const ended = new Error(`\`${file}\` ended (${code ?? signal})`);
      reject(ended);
      for (const { reject: fail } of waiting.values()) fail(ended);
    });
    child.on('message', (message: Answer | 'ready') => {
      if (message === 'ready') return resolve();
      const call = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.fault === undefined) call?.resolve(message.output as never);
      else call?.reject(new Error(`\`${file}\`: ${message.fault}`));
    });
  });
  await started;
  return {
    pid: child.pid ?? 0,
    call: (name, ...[input]) =>
      new Promise((resolve, reject) => {
        if (!child.connected) return reject(new Error(`\`${file}\` has ended`));
        last += 1;
        waiting.set(last, { resolve, reject });
        child.send({ id: last, name, input } satisfies Call);
      }),
    [Symbol.asyncDispose]: () => ended(child),
  };
}

/** Asks politely, by closing the channel; after some seconds not any more. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  if (child.connected) child.disconnect();
  await exit;
  clearTimeout(timer);
}

/** In the child: answers calls until the parent goes, then `end` is awaited. */
export function serve(handlers: Handlers, end: () => Promise<void> = () => Promise.resolve()): void {
  process.on('message', (call: Call) => {
    const handler = handlers[call.name] as ((input: unknown) => unknown) | undefined;
    const answer = async () => {
      if (handler === undefined) throw new Error(`nothing is called \`${call.name}\``);
      return await handler(call.input);
    };
    answer().then(
      (output) => process.send?.({ id: call.id, output } satisfies Answer),
      (fault: unknown) =>
        process.send?.({
          id: call.id,
          fault: fault instanceof Error ? (fault.stack ?? fault.message) : String(fault),
        } satisfies Answer),
    );
  });
  process.on('disconnect', () => {
    const gone = () => process.exit(0);
    end().then(gone, gone);
  });
  process.send?.('ready');
}
