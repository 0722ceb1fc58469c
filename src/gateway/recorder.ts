/**
 * A journal's folder in use: the identity it gives to whoever writes there, the journal, and the shipper that carries it to
 * the control plane.
 */
import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '#core/ids.ts';
import type { Clock } from '#core/instant.ts';
import type { GatewayEvents } from './events.ts';
import { Journal } from './journal.ts';
import { openJournalDisk, type JournalDisk } from './journal-disk.ts';
import { startShipper, type Ship } from './shipper.ts';

export type Recorder = {
  /** Under which the control plane keeps the records apart: numbers begin anew with another one. */
  readonly id: string;
  /** For the salts of users that nobody has. */
  readonly mockSecret: Buffer;
  readonly journal: Journal;
  /** Calls back each time that the journal fails. */
  readonly whenFailed: (then: () => void) => Disposable;
  /** Resolves when everything written down so far has reached the control plane, or `signal` aborts. */
  readonly drain: (signal: AbortSignal) => Promise<void>;
  /** Whether all that was ever written has reached the control plane. */
  readonly isDrained: () => boolean;
  /** Writes what is left, ships as far as it can within `shipWithinMs`, and closes. */
  readonly stop: (shipWithinMs: number) => Promise<void>;
};

/** Throws when the journal can't be recovered. */
export function startRecorder(context: {
  /** Private to the recorder. */
  readonly folder: string;
  /** For tests: another disk. */
  readonly disk?: JournalDisk | undefined;
  readonly ship: Ship;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Pick<GatewayEvents, 'journalFailed' | 'shipFailed'>;
}): Recorder {
  const { folder, ship, clock, random, events } = context;
  const { id, mockSecret } = identityOf(folder, random);
  const listeners = new Set<() => void>();
  const journal = new Journal({
    disk: context.disk ?? openJournalDisk(folder),
    clock,
    onFailure: (error) => {
      events.journalFailed(error);
      for (const then of listeners) then();
    },
  });
  const shipper = startShipper({ journal, ship, gatewayId: id, onFailure: events.shipFailed });
  return {
    id,
    mockSecret,
    journal,
    whenFailed(then) {
      listeners.add(then);
      return { [Symbol.dispose]: () => void listeners.delete(then) };
    },
    drain: (signal) => shipper.drain(signal),
    isDrained: () => shipper.isDrained(),
    async stop(shipWithinMs) {
      journal.flush();
      await new Promise<void>((resolve) => {
        journal.whenDurable(journal.lastNumber, resolve);
        setTimeout(resolve, 1000).unref();
      });
      if (shipWithinMs > 0) await shipper.drain(AbortSignal.timeout(shipWithinMs));
      await shipper[Symbol.asyncDispose]();
      await journal[Symbol.asyncDispose]();
    },
  };
}

/**
 * The name and the secret for mock salts live with the journal: a journal that is lost takes the name along, so that numbers
 * which start anew are never mistaken for ones that the control plane has.
 */
function identityOf(folder: string, random: Random): { readonly id: string; readonly mockSecret: Buffer } {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, 'identity');
  let secret: string;
  try {
    secret = readFileSync(file, 'utf8');
    if (!/^[0-9a-f]{64}$/.test(secret)) throw new Error(`\`${file}\` is not a gateway's identity`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    secret = Buffer.from(random(32)).toString('hex');
    // In one step, and on the disk before anything is written under the name: half of it would be a start that is refused.
    writeFileSync(`${file}.new`, secret, { mode: 0o600, flush: true });
    renameSync(`${file}.new`, file);
  }
  return {
    id: `gw_${hash('sha256', `id ${secret}`, 'hex').slice(0, 24)}`,
    mockSecret: Buffer.from(hash('sha256', `mock ${secret}`, 'hex')),
  };
}
