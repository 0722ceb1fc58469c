/**
 * Cancel requests come on a connection of their own, with nothing but a process id and a key. Ours are translated: the
 * client never learns those of the target. A wrong key gets no answer, as a right one does. As with the server itself, the
 * connection is closed when the request has been carried out, so that who waits for that can send the next statement.
 *
 * A request may reach another engine than the session's. The last bits of the process id say which engine that is; they
 * are no secret, the key is what counts, and only the session's own engine has it.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Random } from '#core/ids.ts';
import { ownCopy } from '#wire/postgres/bytes.ts';

export type CancelRegistry = {
  /** `keyBytes`: 4 in protocol 3.0, up to 256 in 3.2. */
  readonly register: (
    cancel: () => Promise<void>,
    keyBytes: number,
  ) => { readonly processId: number; readonly secretKey: Buffer; readonly release: () => void };
  /** Cancels when the key is right; to find that out takes the same time when not. Resolves when it is done. Never throws. */
  readonly request: (processId: number, secretKey: Buffer) => Promise<void>;
};

const engineBits = 4;
/** 0 to this. */
export const lastEngine = 2 ** engineBits - 1;
export const engineOf = (processId: number): number => processId & lastEngine;

export function createCancelRegistry(context: {
  readonly random: Random;
  readonly engine: number;
  /** Hands a request on to the engine that the process id names. */
  readonly elsewhere: (processId: number, secretKey: Uint8Array) => Promise<void>;
}): CancelRegistry {
  const { random, engine, elsewhere } = context;
  const known = new Map<number, { readonly secretKey: Buffer; readonly cancel: () => Promise<void> }>();
  return {
    register(cancel, keyBytes) {
      let processId: number;
      // Positive, as process ids are.
      do processId = (Buffer.from(random(4)).readInt32BE() & 0x7fffffff & ~lastEngine) | engine;
      while (processId === 0 || known.has(processId));
      const secretKey = ownCopy(random(keyBytes));
      known.set(processId, { secretKey, cancel });
      return { processId, secretKey, release: () => void known.delete(processId) };
    },
    async request(processId, secretKey) {
      if (engineOf(processId) !== engine) return elsewhere(processId, secretKey).catch(() => {});
      const entry = known.get(processId);
      const expected = entry?.secretKey ?? Buffer.alloc(secretKey.length);
      const isRight = timingSafeEqual(padded(expected), padded(secretKey)) && expected.length === secretKey.length;
      if (isRight) await entry?.cancel().catch(() => {});
    },
  };
}

/** Keys of any length compare in the same time. */
function padded(key: Buffer): Buffer {
  const out = Buffer.alloc(256);
  key.copy(out);
  return out;
}
