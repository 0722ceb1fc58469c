/** The key outside the database, under which every secret in it is encrypted (INVARIANT 10). Made at the first start. */
import { decodeBase64, encodeBase64 } from '#core/base64.ts';
import type { Random } from '#core/ids.ts';
import { Secret } from '#core/secret.ts';
import { readPrivateFile, writePrivateFile } from './private-file.ts';
import { StartError } from './start-error.ts';

export function openMasterKey(path: string, random: Random): Secret<Uint8Array> {
  const text = readPrivateFile(path);
  if (text === undefined) {
    const key = random(32);
    writePrivateFile(path, `${encodeBase64(key)}\n`);
    return new Secret(key);
  }
  const key = decodeBase64(text.trim());
  if (key?.length !== 32)
    throw new StartError('key_file_damaged', `the key file \`${path}\` is damaged: it must hold 32 bytes in base64`, {
      hint: 'restore it from a backup; without it the secrets in the database can’t be read',
    });
  return new Secret(key);
}
