/**
 * A whole `AppContext` for tests: real PostgreSQL, the shipped policies with the example's configuration in force, changes
 * that arrive by `notify`, a clock that moves on command, and people with passkeys in software.
 *
 *     const app = await testApp(t);
 *     const ada = await app.person('ada', ['engineering']);
 *     await fileRequest(app.ctx, await app.caller(ada), { … });
 */
import { randomBytes } from 'node:crypto';
import { applyFirstConfiguration } from '#app/apply-first-configuration.ts';
import { authenticateWeb } from '#app/authenticate.ts';
import { changesChannel, createChanges, parseChange } from '#app/changes.ts';
import { createContentKeys } from '#app/content-keys.ts';
import type { AccessRequestProfile, AppContext, Caller, Outcome } from '#app/context.ts';
import { finishEnrolment, startEnrolment } from '#app/enrol.ts';
import { loadConfiguration } from '#app/load-configuration.ts';
import { makeLink } from '#app/make-link.ts';
import { offerProof, type ProofAsk } from '#app/offer-proof.ts';
import { signIn, startSignIn } from '#app/sign-in.ts';
import { useProof, type Done } from '#app/use-proof.ts';
import { writeEntry } from '#app/write-entry.ts';
import { encodeBase64Url } from '#core/base64.ts';
import { newId } from '#core/ids.ts';
import type { Duration, Instant } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { ProofObject } from '#core/proof.ts';
import { Secret } from '#core/secret.ts';
import { proofOptions, type Transport } from '#identity/passkeys.ts';
import { createRateLimits, rateRules, type Limited, type Rule } from '#identity/rate-limit.ts';
import { createKeyRing } from '#identity/sealing.ts';
import { newNoteKey, parseSigner } from '#log/note.ts';
import { exampleConfiguration, openPolicyEngine, shippedPolicies } from '#src/open-policy-engine.ts';
import { listen, transaction, type DatabaseAddress } from '#store/database.ts';
import { makeScramVerifier } from '#wire/postgres/scram.ts';
import { testDatabase, type Cleanup } from './postgres.ts';
import { createSoftwareAuthenticator, type SoftwareAuthenticator } from './software-authenticator.ts';

export { exampleConfiguration };

export type MovingClock = { readonly now: () => Instant; readonly move: (by: Duration) => void };

export type TestPerson = {
  readonly principal: Principal;
  readonly key: SoftwareAuthenticator;
  /** Of the sign-in that came with enrolling. */
  readonly cookie: string;
};

export type TestApp = {
  readonly ctx: AppContext;
  readonly clock: MovingClock;
  readonly address: DatabaseAddress;
  /** Somebody with a passkey, signed in at the console. */
  readonly person: (
    handle: string,
    groups?: readonly string[],
    /** `synced`: its counter stays at zero, so it may sign several things at once. */
    passkey?: 'counting' | 'synced',
  ) => Promise<TestPerson>;
  /** Somebody who was invited and has no passkey, and the token of their link. */
  readonly invited: (
    handle: string,
    groups?: readonly string[],
  ) => Promise<{ readonly principal: Principal; readonly linkToken: string }>;
  /** A new sign-in; its cookie. */
  readonly signInWeb: (person: TestPerson) => Promise<string>;
  /** As a request of this person would be authenticated, with a new sign-in. */
  readonly caller: (person: TestPerson) => Promise<Caller>;
  /** Offers a proof; `use` signs it and does the act, and does it with the same signature when it is called again. */
  readonly sign: (person: TestPerson, ask: ProofAsk) => Promise<Signed>;
  /** Offers and uses a proof: the act, done with the person's passkey. Throws when it is refused. */
  readonly prove: (person: TestPerson, ask: ProofAsk) => Promise<Done>;
};

export type Signed = {
  readonly by: Caller;
  readonly object: ProofObject;
  readonly use: () => Promise<Outcome<Done>>;
};

export type TestAppOptions = {
  /** Default `http://localhost:7700`. */
  readonly publicUrl?: string;
  /** Default: the example's; null: none. */
  readonly configuration?: null;
  /** Default: none. */
  readonly accessRequestProfile?: AccessRequestProfile;
  /** Default: so wide that no test meets them. */
  readonly rates?: Readonly<Record<Limited, Rule>>;
};

/** The value of an outcome that must be `done`. */
export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'refused') throw new Error(`refused: ${outcome.because}: ${outcome.message}`);
  return outcome.value;
}

export async function testApp(t: Cleanup, options: TestAppOptions = {}): Promise<TestApp> {
  // Hooks run in the order they were added: what uses the database goes before it does.
  let listener: AsyncDisposable | undefined;
  t.after(async () => await listener?.[Symbol.asyncDispose]());
  const { db, address } = await testDatabase(t);
  let offset = 0;
  const clock: MovingClock = {
    now: () => (Date.now() + offset) as Instant,
    move: (by) => {
      offset += by;
    },
  };
  const random = (length: number) => new Uint8Array(randomBytes(length));
  const publicUrl = options.publicUrl ?? 'http://localhost:7700';
  const changes = createChanges();
  const keyRing = createKeyRing(new Secret(random(32)), { random });
  const policy = await openPolicyEngine();
  const ctx: AppContext = {
    db,
    clock,
    random,
    timers: { sleep },
    policy,
    shipped: shippedPolicies(),
    changes,
    keyRing,
    rates: createRateLimits({ clock, rules: options.rates ?? wideRates() }),
    contentKeys: createContentKeys({ db, keyRing, clock, random }),
    site: {
      publicUrl,
      rpId: new URL(publicUrl).hostname,
      rpName: 'Sallyport',
      postgres: { host: 'localhost', port: 7701 },
      ...(options.accessRequestProfile === undefined ? {} : { accessRequestProfile: options.accessRequestProfile }),
    },
    logSigner: parseSigner(newNoteKey('sally.test', random).skey),
    gatewayRoot: () => '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n',
    scramVerifier: (password) => makeScramVerifier(password.reveal(), random(16)),
  };
  listener = await listen(address, [changesChannel], {
    onNotification: (_, payload) => {
      const change = parseChange(payload);
      if (change !== undefined) changes.tell(change);
    },
  });
  await loadConfiguration(ctx);
  if (options.configuration !== null) {
    const { file, text, policies } = exampleConfiguration();
    const applied = await applyFirstConfiguration(ctx, { file, text, policies });
    if (applied.kind !== 'applied') throw new Error(`apply the example: ${JSON.stringify(applied)}`);
    await loadConfiguration(ctx);
  }

  const invited: TestApp['invited'] = async (handle, groups = []) => {
    const principal: Principal = {
      id: newId('principal', { now: clock.now(), random }),
      handle,
      name: handle,
      kind: 'user',
      state: 'invited',
      groups,
    };
    const link = await transaction(db, async (trx) => {
      const entry = await writeEntry(ctx, trx, {
        kind: 'principal.invited',
        actor: 'system',
        of: principal.id,
        subjects: { principal: principal.id },
        public: { kind: 'user', groups: [...groups] },
        content: { handle, name: handle },
      });
      await trx
        .insertInto('principal')
        .values({ ...principal, created_at: clock.now(), entry })
        .execute();
      return await makeLink(ctx, trx, { for: { purpose: 'enrolment', principal: principal.id }, actor: 'system' });
    });
    const url = link.url.reveal();
    return { principal, linkToken: url.slice(url.indexOf('#') + 1) };
  };

  const person: TestApp['person'] = async (handle, groups, passkey = 'counting') => {
    const { principal, linkToken: token } = await invited(handle, groups);
    const key = createSoftwareAuthenticator({ origin: publicUrl, counts: passkey === 'counting' });
    const ceremony = valueOf(await startEnrolment(ctx, { token, handle: undefined, name: undefined }));
    const signedIn = valueOf(
      await finishEnrolment(ctx, {
        token,
        ceremony: ceremony.ceremony,
        response: key.register(ceremony.options as object),
        authenticatorName: `${handle}'s passkey`,
        address: '127.0.0.1',
      }),
    );
    return { principal: { ...principal, state: 'active' }, key, cookie: signedIn.token.reveal() };
  };

  const signInWeb: TestApp['signInWeb'] = async ({ key }) => {
    const ceremony = await startSignIn(ctx);
    const response = key.assert(ceremony.options as object);
    return valueOf(await signIn(ctx, { ceremony: ceremony.ceremony, response, address: '127.0.0.1' })).token.reveal();
  };

  const caller: TestApp['caller'] = async (of) => {
    const found = await authenticateWeb(ctx, { cookie: await signInWeb(of), address: '127.0.0.1' });
    if (found === undefined) throw new Error(`sign in \`${of.principal.handle}\`: the sign-in is not live`);
    return found;
  };

  const sign: TestApp['sign'] = async (of, ask) => {
    const by = await caller(of);
    const offer = valueOf(await offerProof(ctx, by, ask));
    const allowed = offer.authenticators.map(({ credentialId, transports }) => ({
      credentialId: encodeBase64Url(credentialId),
      transports: transports as readonly Transport[],
    }));
    let assertion: unknown;
    return {
      by,
      object: offer.object,
      use: async () => {
        // A passkey counts: what was signed first has to be used first.
        assertion ??= of.key.assert(proofOptions({ rpId: ctx.site.rpId, challenge: offer.challenge, allowed }));
        return await useProof(ctx, by, { proof: offer.id, assertion });
      },
    };
  };

  const prove: TestApp['prove'] = async (of, ask) => valueOf(await (await sign(of, ask)).use());

  return { ctx, clock, address, person, invited, signInWeb, caller, sign, prove };
}

function wideRates(): Readonly<Record<Limited, Rule>> {
  const wide: Rule = { burst: 1_000_000, every: 1 as Duration };
  return Object.fromEntries(Object.keys(rateRules).map((what) => [what, wide])) as Record<Limited, Rule>;
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const timer = setTimeout(over, ms);
    function over(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', over);
      resolve();
    }
    signal?.addEventListener('abort', over);
  });
}
