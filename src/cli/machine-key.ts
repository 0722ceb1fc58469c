/**
 * The key of this machine: P-256, made at the first sign-in and kept in the configuration folder. Access tokens are bound
 * to it (RFC 9449), so a token that leaks without it is worth nothing.
 */
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT, type JWK } from 'jose';
import { configFolder, readText, writeTextOnce, type Environment } from './config-folder.ts';
import { CliError } from './exit.ts';

export type MachineKey = {
  /** RFC 7638 thumbprint of the public key, base64url. */
  readonly thumbprint: string;
  /**
   * A DPoP proof for one request (RFC 9449 §4.2). `url` may have a query, which is not part of the proof; `accessToken`
   * is bound in where there is one; `nowSeconds` is the server's time as far as we know it.
   */
  readonly prove: (request: {
    readonly method: string;
    readonly url: string;
    readonly accessToken?: string;
    readonly nowSeconds: number;
  }) => Promise<string>;
};

export const machineKeyFile = (env: Environment): string => join(configFolder(env), 'machine-key.json');

/** The machine's key; made when there is none yet. */
export async function machineKey(env: Environment): Promise<MachineKey> {
  const file = machineKeyFile(env);
  const kept = await readText(file);
  // Two first runs at once both make a key; the first one written is the one both use.
  const text = kept ?? (await writeTextOnce(file, `${JSON.stringify(await newKey())}\n`));
  let jwk: JWK;
  try {
    const document = JSON.parse(text) as { readonly v?: unknown; readonly key?: JWK };
    if (document.v !== 1 || document.key?.kty !== 'EC' || document.key.crv !== 'P-256')
      throw new Error('not a P-256 key');
    jwk = document.key;
    const { kty, crv, x, y } = jwk;
    const publicJwk = { kty, crv, x, y } as JWK;
    const privateKey = await importJWK(jwk, 'ES256');
    const thumbprint = await calculateJwkThumbprint(publicJwk);
    return {
      thumbprint,
      prove: ({ method, url, accessToken, nowSeconds }) => {
        const target = new URL(url);
        const claims: Record<string, string> = { htm: method, htu: target.origin + target.pathname, jti: randomUUID() };
        if (accessToken !== undefined) claims['ath'] = createHash('sha256').update(accessToken).digest('base64url');
        return new SignJWT(claims)
          .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: publicJwk })
          .setIssuedAt(nowSeconds)
          .sign(privateKey);
      },
    };
  } catch (cause) {
    throw new CliError('fault', `read the key of this machine from \`${file}\`: it is damaged`, {
      hint: 'delete that file and sign in again with `sally login`',
      cause,
    });
  }
}

async function newKey(): Promise<{ readonly v: 1; readonly key: JWK }> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { v: 1, key: await exportJWK(privateKey) };
}
