/**
 * Calls over a message port, typed at both its ends by one declaration. What is posted was checked by the compiler against
 * the interface that the other end is written to; the assertion that what arrives is of that type is here and nowhere else,
 * and holds because both ends are this program's own. So a value that only one function can make, such as an
 * `AuthorizedSession`, still begins there: whoever posts one has one.
 *
 * INVARIANT 10: what is wrapped against logs can't be cloned, and is wrapped again where it arrives. Of an error only its
 * words and codes go over: drivers hang whole connections on theirs.
 */
import type { MessagePort, Worker } from 'node:worker_threads';
import { Secret } from '#core/secret.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- the arguments of any function; each call is checked by its own type
type Methods = Readonly<Record<string, (...args: any[]) => unknown>>;

type Message =
  | { readonly kind: 'ask'; readonly id: number; readonly name: string; readonly args: readonly unknown[] }
  | { readonly kind: 'tell'; readonly name: string; readonly args: readonly unknown[] }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'fault'; readonly id: number; readonly fault: unknown };

export type Port<Theirs extends Methods> = {
  readonly ask: <K extends keyof Theirs & string>(
    name: K,
    ...args: Parameters<Theirs[K]>
  ) => Promise<Awaited<ReturnType<Theirs[K]>>>;
  /** Without an answer. */
  readonly tell: <K extends keyof Theirs & string>(name: K, ...args: Parameters<Theirs[K]>) => void;
  /** Nothing will be answered any more: whoever waits gets this. */
  readonly close: (because: Error) => void;
};

/** @param onMessage called for each message of the other end, before it is taken */
export function openPort<Theirs extends Methods>(
  port: MessagePort | Worker,
  ours: Methods,
  onMessage: () => void = () => {},
): Port<Theirs> {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>();
  let next = 1;
  let closed: Error | undefined;
  const post = (message: Message) => port.postMessage(message);
  const serve = async (name: string, args: readonly unknown[]): Promise<unknown> => {
    const method = ours[name];
    if (method === undefined) throw new Error(`answer a call: there is no \`${name}\` here`);
    return await method(...args.map(raised));
  };
  port.on('message', (message: Message) => {
    onMessage();
    switch (message.kind) {
      case 'ask': {
        const { id, name, args } = message;
        serve(name, args).then(
          (value) => post({ kind: 'answer', id, value: lowered(value) }),
          (error: unknown) => post({ kind: 'fault', id, fault: lowered(asError(error)) }),
        );
        return;
      }
      case 'tell': {
        const method = ours[message.name];
        method?.(...message.args.map(raised));
        return;
      }
      case 'answer':
      case 'fault': {
        const one = waiting.get(message.id);
        waiting.delete(message.id);
        if (message.kind === 'answer') one?.resolve(raised(message.value));
        else one?.reject(raised(message.fault));
        return;
      }
      default:
        message satisfies never;
    }
  });
  return {
    ask: (name, ...args) =>
      new Promise((resolve, reject) => {
        if (closed !== undefined) return reject(closed);
        const id = next;
        next += 1;
        waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
        post({ kind: 'ask', id, name, args: args.map(lowered) });
      }),
    tell: (name, ...args) => {
      if (closed === undefined) post({ kind: 'tell', name, args: args.map(lowered) });
    },
    close(because) {
      closed = because;
      for (const { reject } of waiting.values()) reject(because);
      waiting.clear();
    },
  };
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** Keys that no value of ours has. */
const secretKey = ' secret';
const errorKey = ' error';

/** A value without what a clone would lose or show. Only what holds something of the kind is copied. */
function lowered(value: unknown): unknown {
  if (value instanceof Secret) return { [secretKey]: value.reveal() as unknown };
  if (value instanceof Error) {
    const { name, message, stack, cause } = value;
    const code = 'code' in value ? String(value.code) : undefined;
    const sqlState = 'sqlState' in value ? String(value.sqlState) : undefined;
    return { [errorKey]: { name, message, stack, code, sqlState, cause: lowered(cause) } };
  }
  // A view is cloned with all that it is a view of: the pool that buffers are cut from holds other people's bytes.
  if (value instanceof Uint8Array && value.buffer.byteLength !== value.byteLength) return new Uint8Array(value);
  return mapped(value, lowered);
}

function raised(value: unknown): unknown {
  if (isPlain(value)) {
    if (secretKey in value) return new Secret(value[secretKey]);
    const error = value[errorKey];
    if (isPlain(error)) {
      const { message, cause, ...rest } = error;
      return Object.assign(new Error(String(message), { cause: raised(cause) }), rest);
    }
  }
  return mapped(value, raised);
}

function mapped(value: unknown, map: (value: unknown) => unknown): unknown {
  if (Array.isArray(value)) {
    let out: unknown[] | undefined;
    for (const [i, one] of value.entries()) {
      const other = map(one);
      if (other !== one) (out ??= [...(value as unknown[])])[i] = other;
    }
    return out ?? value;
  }
  if (!isPlain(value)) return value;
  let out: Record<string, unknown> | undefined;
  for (const name in value) {
    const other = map(value[name]);
    if (other !== value[name]) (out ??= { ...value })[name] = other;
  }
  return out ?? value;
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
