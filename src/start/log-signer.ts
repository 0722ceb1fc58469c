/** The key that signs the log. It lies in the store, sealed under the master key, so that all processes share it. */
import type { Random } from '#core/ids.ts';
import type { KeyRing } from '#identity/sealing.ts';
import { newNoteKey, parseSigner, type NoteSigner } from '#log/note.ts';
import type { Db } from '#store/database.ts';
import { StartError } from './start-error.ts';

const setting = 'log_signing_key';

export async function openLogSigner(from: {
  readonly db: Db;
  readonly keyRing: KeyRing;
  readonly random: Random;
  /** The log's name for good: chosen when the key is made. */
  readonly name: string;
}): Promise<NoteSigner> {
  const { db, keyRing, random, name } = from;
  const { skey } = newNoteKey(name, random);
  await db
    .insertInto('sealed_setting')
    .values({ name: setting, sealed: keyRing.seal('setting', new TextEncoder().encode(skey), setting) })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const row = await db
    .selectFrom('sealed_setting')
    .select('sealed')
    .where('name', '=', setting)
    .executeTakeFirstOrThrow();
  return parseSigner(new TextDecoder().decode(opened(keyRing, row.sealed)));
}

/** The first thing that is opened at a start, so it is here that a key file of another store is noticed. */
function opened(keyRing: KeyRing, sealed: Uint8Array): Uint8Array {
  try {
    return keyRing.open('setting', sealed, setting).reveal();
  } catch (cause) {
    throw new StartError(
      'master_key_wrong',
      'the store was sealed under another master key than the one in `keys/master.key`',
      {
        hint: 'put back the key file that belongs to this store; without it the secrets in the store can’t be read',
        cause,
      },
    );
  }
}
