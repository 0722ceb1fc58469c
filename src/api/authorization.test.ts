/**
 * Every endpoint, asked by every kind of principal. What comes out is in test/golden/api-authorization.txt, which is read in
 * review: a cell that changes is a right that changes. An endpoint that nobody probes doesn't compile.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { valueOf } from '#test/support/app.ts';
import { newMachine, stranger, testApi, web, type As, type TestApi } from '#test/support/api.ts';
import { fileRequest } from '#app/file-request.ts';
import { makePlan } from '#app/make-plan.ts';
import { offerProof } from '#app/offer-proof.ts';
import { openSession } from '#app/open-session.ts';
import { sequenceLog } from '#app/sequence-log.ts';
import { endpoints, type EndpointName } from '#contract/endpoints.ts';
import { encodeBase64Url } from '#core/base64.ts';
import type { GrantId, PlanId, RequestId, RoleName, SessionId } from '#core/ids.ts';
import { newId } from '#core/ids.ts';
import type { Principal } from '#core/principal.ts';
import { seconds } from '#core/instant.ts';
import { proofOptions } from '#identity/passkeys.ts';
import { newToken } from '#identity/tokens.ts';
import { exampleConfiguration } from '#test/support/policy.ts';
import type { TestPerson } from '#test/support/app.ts';
import { holdRow } from '#test/support/holds.ts';

const golden = new URL('../../test/golden/api-authorization.txt', import.meta.url);
const update = process.env['SALLY_UPDATE_GOLDEN'] === '1';

type Input = { readonly params?: object; readonly query?: object; readonly body?: unknown };
/** Makes what it asks about anew where the one before may have changed it. */
type Probe = (world: World) => Promise<Input> | Input;

type World = {
  readonly api: TestApi;
  readonly ada: TestPerson;
  readonly eve: TestPerson;
  readonly root: TestPerson;
  readonly freshLink: () => Promise<string>;
  /** Ada's. */
  readonly pendingRequest: () => Promise<RequestId>;
  readonly approvedGrant: () => Promise<GrantId>;
  readonly activeGrant: () => Promise<GrantId>;
  /** Ada's, with an open session's row that nobody else wrote. */
  readonly session: () => Promise<string>;
  /** Of a statement of Ada's, to be approved by the dba group and reasoned. */
  readonly hold: () => Promise<string>;
  /** Of an activation by Ada, with her assertion. */
  readonly proof: () => Promise<{ readonly id: string; readonly assertion: unknown }>;
  readonly entry: () => Promise<string>;
  readonly plan: () => Promise<PlanId>;
};

const one = <K extends string>(what: K, probe: Probe) => ({ [what]: probe }) as Readonly<Record<string, Probe>>;
const nothing = one('', () => ({}));

const probes: { readonly [K in EndpointName]: Readonly<Record<string, Probe>> } = {
  about: nothing,
  me: nothing,
  inspectLink: {
    'a live link': async (w) => ({ body: { token: await w.freshLink() } }),
    'no link': () => ({ body: { token: 'sly_ln_none' } }),
  },
  startEnrolment: one('a live link', async (w) => ({ body: { token: await w.freshLink() } })),
  finishEnrolment: one('a live link, no ceremony', async (w) => ({
    body: { token: await w.freshLink(), ceremony: 'cer_none', response: {}, authenticatorName: 'key' },
  })),
  startSignIn: nothing,
  signIn: one('no ceremony', () => ({ body: { ceremony: 'cer_none', response: {} } })),
  signOut: nothing,
  authorizeCli: one('', async () => ({
    body: {
      redirectUri: 'http://127.0.0.1:49152/callback',
      codeChallenge: 'A'.repeat(43),
      codeChallengeMethod: 'S256',
      state: 'a state of sixteen',
      dpopJkt: (await newMachine()).jkt,
      machine: 'laptop',
    },
  })),
  offerProof: {
    "approve ada's request": async (w) => ({ body: { purpose: 'approve_request', request: await w.pendingRequest() } }),
    "activate ada's grant": async (w) => ({ body: { purpose: 'activate_grant', grant: await w.approvedGrant() } }),
    'invite somebody': () => ({
      body: { purpose: 'invite_principal', handle: 'newcomer', name: 'Newcomer', groups: ['engineering'] },
    }),
    "change eve's groups": (w) => ({
      body: { purpose: 'change_principal', principal: w.eve.principal.id, groups: ['dba'], state: 'active' },
    }),
    'a new link for eve': (w) => ({ body: { purpose: 'enrol_authenticator', principal: w.eve.principal.id } }),
    'a new link for root': (w) => ({ body: { purpose: 'enrol_authenticator', principal: w.root.principal.id } }),
    'apply a plan': async (w) => ({ body: { purpose: 'change_configuration', plan: await w.plan() } }),
  },
  useProof: one("ada's, with her assertion", async (w) => {
    const { id, assertion } = await w.proof();
    return { params: { id }, body: { assertion } };
  }),
  listRoles: nothing,
  fileRequest: {
    'a role for engineering': () => ({ body: { role: 'orders/support-read', seconds: 600, reason: 'the matrix' } }),
    'no such role': () => ({ body: { role: 'orders/none', seconds: 600, reason: 'the matrix' } }),
  },
  listRequests: {
    mine: () => ({ query: { box: 'mine' } }),
    inbox: () => ({ query: { box: 'inbox' } }),
    all: () => ({ query: { box: 'all' } }),
  },
  getRequest: {
    "ada's": async (w) => ({ params: { id: await w.pendingRequest() } }),
    'no such request': (w) => ({ params: { id: madeUp(w, 'request') } }),
  },
  denyRequest: one("ada's", async (w) => ({ params: { id: await w.pendingRequest() }, body: { word: 'no' } })),
  withdrawRequest: one("ada's", async (w) => ({ params: { id: await w.pendingRequest() } })),
  listGrants: { mine: () => ({ query: { scope: 'mine' } }), all: () => ({ query: { scope: 'all' } }) },
  getGrant: {
    "ada's": async (w) => ({ params: { id: await w.activeGrant() } }),
    'no such grant': (w) => ({ params: { id: madeUp(w, 'grant') } }),
  },
  endGrant: one("ada's", async (w) => ({ params: { id: await w.activeGrant() }, body: {} })),
  issueCredential: {
    "under ada's": async (w) => ({ params: { id: await w.activeGrant() } }),
    "under ada's, not activated": async (w) => ({ params: { id: await w.approvedGrant() } }),
  },
  listCovers: one("under ada's", async (w) => ({ params: { id: await w.activeGrant() } })),
  endCover: one('no such cover', (w) => ({ params: { id: madeUp(w, 'cover') }, body: {} })),
  listHolds: {
    mine: () => ({ query: { box: 'mine' } }),
    inbox: () => ({ query: { box: 'inbox' } }),
    all: () => ({ query: { box: 'all' } }),
  },
  getHold: {
    "ada's": async (w) => ({ params: { id: await w.hold() } }),
    'no such hold': (w) => ({ params: { id: madeUp(w, 'hold') } }),
  },
  denyHold: one("ada's", async (w) => ({ params: { id: await w.hold() }, body: { word: 'no' } })),
  withdrawHold: one("ada's", async (w) => ({ params: { id: await w.hold() } })),
  giveReason: one("ada's", async (w) => ({ params: { id: await w.hold() }, body: { reason: 'the matrix' } })),
  getDenial: one('no such denial', (w) => ({ params: { id: madeUp(w, 'denial') } })),
  listSessions: { mine: () => ({ query: { scope: 'mine' } }), all: () => ({ query: { scope: 'all' } }) },
  getSession: {
    "ada's": async (w) => ({ params: { id: await w.session() } }),
    'no such session': (w) => ({ params: { id: madeUp(w, 'session') } }),
  },
  listLog: { mine: () => ({ query: { scope: 'mine' } }), all: () => ({ query: { scope: 'all' } }) },
  proveEntry: one("of ada's request", async (w) => ({ params: { id: await w.entry() } })),
  logCheckpoint: nothing,
  exportLog: nothing,
  listPrincipals: nothing,
  getPrincipal: {
    ada: (w) => ({ params: { id: w.ada.principal.id } }),
    'no such person': (w) => ({ params: { id: madeUp(w, 'principal') } }),
  },
  getConfiguration: nothing,
  makePlan: one('', () => ({ body: changedConfiguration() })),
  getPlan: one("root's", async (w) => ({ params: { id: await w.plan() } })),
};

test('every endpoint is probed without rights, and answers every kind of principal as the golden matrix says', async (t) => {
  assert.deepEqual(Object.keys(probes).toSorted(), Object.keys(endpoints).toSorted(), 'an endpoint is not probed');
  const api = await testApi(t);
  const { world, kinds } = await populate(api);
  const signedIn = new Map<string, As>();
  const rows: string[][] = [['', ...kinds.map(({ kind }) => kind)]];
  for (const [name, variants] of Object.entries(probes) as [EndpointName, Readonly<Record<string, Probe>>][])
    for (const [variant, probe] of Object.entries(variants)) {
      const cells: string[] = [];
      for (const { kind, as } of kinds) {
        const by = signedIn.get(kind) ?? (await as());
        const reply = await api.call(by, name, await probe(world));
        // A sign-out ends the sign-in that asked for it; nothing else does.
        if (name === 'signOut') signedIn.delete(kind);
        else signedIn.set(kind, by);
        cells.push(`${reply.status}${reply.code === undefined ? '' : ` ${reply.code}`}`);
      }
      rows.push([variant === '' ? name : `${name}: ${variant}`, ...cells]);
    }
  assert.deepEqual(
    api.faults.map(({ route, fault }) => `${route}: ${String(fault)}`),
    [],
    'a probe met a fault',
  );

  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const text = rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
  const head =
    '# Status and code of every endpoint for every kind of principal. Made by src/api/authorization.test.ts; read each change.\n\n';
  if (update) writeFileSync(golden, `${head}${text}\n`);
  assert.equal(
    `${head}${text}\n`,
    readFileSync(golden, 'utf8'),
    'rights have changed: if that is meant, run `SALLY_UPDATE_GOLDEN=1 node --test src/api/authorization.test.ts` and read the difference',
  );

  // What the table must never say, whatever is committed: an act of a principal by a stranger, or by one who is not active.
  for (const row of rows.slice(1)) {
    const name = (row[0] ?? '').split(':')[0] as EndpointName;
    if (endpoints[name].for === 'stranger') continue;
    for (const cell of row.slice(1, 5)) assert.match(cell, /^401 (?:not_signed_in|invalid_token)$/, row[0]);
  }
});

async function populate(api: TestApi) {
  const { ctx, person, invited, prove, caller } = api;
  const root = await person('root', ['administrators']);
  const ada = await person('ada', ['engineering']);
  const eve = await person('eve', ['engineering']);
  const bob = await person('bob', ['dba']);
  const zed = await person('zed', ['engineering', 'dba', 'administrators']);
  const ivy = await invited('ivy', ['engineering', 'dba', 'administrators']);

  await prove(root, {
    purpose: 'change_principal',
    principal: zed.principal.id,
    groups: zed.principal.groups,
    state: 'suspended',
  });
  // Sign-ins that can't be: of somebody who never enrolled, and one that a suspension overlooked. Neither may count.
  const forge = async ({ principal }: { readonly principal: Principal }): Promise<As> => {
    const { token, hash } = newToken('web_session', ctx.random);
    const now = ctx.clock.now();
    await ctx.db
      .insertInto('web_session')
      .values({
        id: newId('token', { now, random: ctx.random }),
        token_hash: hash,
        principal: principal.id,
        created_at: now,
        last_seen_at: now,
        proven_at: now,
        ended_at: null,
      })
      .execute();
    return web({ cookie: token.reveal() });
  };
  const cli = await api.signInCli(ada);

  const file = async () =>
    valueOf(
      await fileRequest(ctx, await caller(ada), {
        role: 'orders/support-read' as RoleName,
        duration: seconds(3600),
        reason: 'the matrix',
        ticket: undefined,
        startsAt: undefined,
      }),
    );
  let request: RequestId | undefined;
  let approved: GrantId | undefined;
  let active: GrantId | undefined;
  let plan: PlanId | undefined;
  const stateOf = async (id: GrantId | undefined) =>
    id === undefined
      ? undefined
      : (await ctx.db.selectFrom('access_grant').select('state').where('id', '=', id).executeTakeFirst())?.state;

  const world: World = {
    api,
    ada,
    eve,
    root,
    freshLink: async () =>
      (await invited(`x${encodeBase64Url(ctx.random(9)).toLowerCase().replaceAll(/[-_]/g, 'z')}`)).linkToken,
    pendingRequest: async () => {
      const row =
        request === undefined
          ? undefined
          : await ctx.db.selectFrom('access_request').select('state').where('id', '=', request).executeTakeFirst();
      return row?.state === 'pending' && request !== undefined ? request : (request = await file());
    },
    approvedGrant: async () => {
      if (approved !== undefined && (await stateOf(approved)) === 'approved') return approved;
      const id = await file();
      await prove(bob, { purpose: 'approve_request', request: id });
      const row = await ctx.db
        .selectFrom('access_grant')
        .select('id')
        .where('request', '=', id)
        .executeTakeFirstOrThrow();
      return (approved = row.id);
    },
    activeGrant: async () => {
      if (active !== undefined && (await stateOf(active)) === 'active') return active;
      const id = await world.approvedGrant();
      await prove(ada, { purpose: 'activate_grant', grant: id });
      return (active = id);
    },
    session: async () => {
      const known = await ctx.db.selectFrom('session').select('id').executeTakeFirst();
      if (known !== undefined) return known.id;
      return await openSessionRow(api, ada, await world.activeGrant());
    },
    hold: async () => {
      const grant = await world.activeGrant();
      const open = await ctx.db
        .selectFrom('session')
        .select('id')
        .where('access_grant', '=', grant)
        .where('ended_at', 'is', null)
        .executeTakeFirst();
      const session = (open?.id ?? (await openSessionRow(api, ada, grant))) as SessionId;
      const live = await ctx.db.selectFrom('hold').select('id').where('state', '=', 'waiting').executeTakeFirst();
      return live?.id ?? (await holdRow(api, ada, grant, session));
    },
    proof: async () => {
      const by = await caller(ada);
      const offer = valueOf(
        await offerProof(ctx, by, { purpose: 'activate_grant', grant: await world.approvedGrant() }),
      );
      const allowed = offer.authenticators.map(({ credentialId }) => ({
        credentialId: encodeBase64Url(credentialId),
        transports: [],
      }));
      return {
        id: offer.id,
        assertion: ada.key.assert(proofOptions({ rpId: ctx.site.rpId, challenge: offer.challenge, allowed })),
      };
    },
    entry: async () => {
      await world.pendingRequest();
      await sequenceLog(ctx);
      const row = await ctx.db
        .selectFrom('log_entry')
        .select('id')
        .where('kind', '=', 'request.filed')
        .where('actor', '=', ada.principal.id)
        .executeTakeFirstOrThrow();
      return row.id;
    },
    plan: async () => {
      if (plan !== undefined) return plan;
      const planned = valueOf(await makePlan(ctx, await caller(root), changedConfiguration()));
      assert.equal(planned.kind, 'planned');
      return (plan = planned.kind === 'planned' ? planned.plan : undefined) ?? assert.fail();
    },
  };
  await sequenceLog(ctx);

  const signIn = (someone: TestPerson) => async (): Promise<As> => web({ cookie: await api.signInWeb(someone) });
  const kinds: readonly { readonly kind: string; readonly as: () => Promise<As> | As }[] = [
    { kind: 'stranger', as: () => stranger },
    { kind: 'invited', as: () => forge(ivy) },
    { kind: 'suspended', as: () => forge(zed) },
    { kind: "ada's token, no proof", as: () => ({ ...cli, withoutProof: true }) },
    { kind: 'other engineer (eve)', as: signIn(eve) },
    { kind: 'owner (ada)', as: signIn(ada) },
    { kind: 'owner by CLI (ada)', as: () => api.signInCli(ada) },
    { kind: 'approver (bob)', as: signIn(bob) },
    { kind: 'administrator (root)', as: signIn(root) },
  ];
  return { world, kinds };
}

async function openSessionRow(api: TestApi, owner: TestPerson, grant: GrantId): Promise<string> {
  const { ctx } = api;
  const made = await api.call(web({ cookie: await api.signInWeb(owner) }), 'issueCredential', {
    params: { id: grant },
  });
  assert.equal(made.status, 200, made.text);
  const credential = await ctx.db
    .selectFrom('connection_credential')
    .selectAll()
    .where('access_grant', '=', grant)
    .executeTakeFirstOrThrow();
  const answer = await openSession(ctx, {
    credential: credential.id,
    client: { address: '127.0.0.1', port: 50_000, applicationName: 'psql', tls: true },
    database: 'orders',
    gatewayId: 'gw',
  });
  assert.ok(answer.kind === 'opened');
  return answer.session.id;
}

const madeUp = (w: World, kind: 'request' | 'grant' | 'session' | 'principal' | 'hold' | 'cover' | 'denial') =>
  newId(kind, { now: w.api.clock.now(), random: w.api.ctx.random });

function changedConfiguration() {
  const { file, text, policies } = exampleConfiguration();
  return { file, text: text.replace('statement-timeout: 5m', 'statement-timeout: 4m'), policies };
}
