/**
 * A small working Sallyport API in memory, for tests of the CLI: real HTTP, inputs and answers held against the contract,
 * DPoP and PKCE checked as the RFCs say, a real log with its key. People act at once where the real ones need a browser and
 * a passkey: `GET /authorize` consents, `GET /grants/ID` activates, `GET /plans/ID` applies. It fails on command.
 */
import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose';
import type { z } from 'zod';
import type { Endpoint, ParsedOf } from '#contract/endpoint.ts';
import { endpoints, type EndpointName } from '#contract/endpoints.ts';
import { errorStatus, type ErrorCode } from '#contract/errors.ts';
import type { GrantView, LogEntryView, PlanView, RequestView, RoleView, SessionView } from '#contract/views.ts';
import type { EntryId, PrincipalId } from '#core/ids.ts';
import { formatInstant, parseInstant, type Instant } from '#core/instant.ts';
import { signCheckpoint } from '#log/checkpoint.ts';
import { sealContent, type ContentKey } from '#log/content.ts';
import { encodeEntry, makeEntry, type EntryKind } from '#log/entry.ts';
import { newNoteKey, parseSigner } from '#log/note.ts';
import { formatReceipt, proveEntry } from '#log/receipt.ts';
import { appendLeaves } from '#log/tiles.ts';
import { emptyRoot, type Hash } from '#log/tree.ts';
import { writeCopy, type CopyEntry } from '#log/write-copy.ts';

type Person = {
  readonly id: string;
  readonly handle: string;
  readonly name: string;
  readonly groups: readonly string[];
};

const idOf = (prefix: string, n: number) => `${prefix}_${String(n).padStart(26, '0')}`;

export const people = {
  ada: { id: idOf('usr', 1), handle: 'ada', name: 'Ada Lovelace', groups: ['engineers'] },
  bob: { id: idOf('usr', 2), handle: 'bob', name: 'Bob Kahn', groups: ['dba', 'sallyport-admins'] },
} as const satisfies Readonly<Record<string, Person>>;

class Refusal extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  constructor(code: ErrorCode, message: string, hint?: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

type SignIn = { readonly person: Person; readonly jkt: string; ended: boolean; refreshToken: string };
type Code = { readonly person: Person; readonly challenge: string; readonly redirectUri: string; readonly jkt: string };

/** What a test may turn before or while the CLI runs. */
export type MockWorld = {
  /** Who consents in the browser. */
  person: keyof typeof people;
  /** What the browser answers to the next sign-in. */
  consent: 'give' | 'refuse' | 'other-state-first' | 'other-issuer';
  /** What the approver does with a request once somebody waits for it. */
  approver: 'absent' | 'approves' | 'denies';
  /** What the person does at a page that asks for the passkey. */
  passkey: 'touches' | 'stays-away';
  /** Paths that answer 503, and how often. */
  outages: Map<string, number>;
  /** Where every answer of the API points instead of answering. */
  redirectTo: string | undefined;
  /** Milliseconds by which the server's clock is ahead. */
  clockAheadMs: number;
  /** What the export sends in place of a copy. */
  exportInstead: string | undefined;
};

export type MockApi = {
  readonly url: string;
  readonly logKey: string;
  readonly world: MockWorld;
  readonly roles: RoleView[];
  readonly requests: RequestView[];
  readonly grants: GrantView[];
  readonly sessions: SessionView[];
  /** How often tokens were refreshed, and how often a used-up refresh token came back. */
  readonly tokenCounts: { refreshed: number; reused: number };
  /** Every access token given out so far stops working. */
  readonly expireAccessTokens: () => void;
  /** An approved grant of ada's. */
  readonly addGrant: (role: string, state: 'approved' | 'active', seconds: number) => GrantView;
  readonly addRequest: (role: string, by: keyof typeof people, reason: string) => RequestView;
  readonly addEntries: (count: number) => Promise<void>;
  /** What policy was asked about an update of ada's without a where, and the statement that was refused by the answer. */
  readonly addJudged: () => Promise<void>;
  /** Faults of the mock itself: an answer that isn't of the contract, for example. */
  readonly faults: unknown[];
  /** Hears of every request that comes in. */
  readonly onRequest: (listen: () => void) => void;
  readonly close: () => Promise<void>;
};

export async function startMockApi(
  options: { readonly tls?: { readonly key: string; readonly cert: string } } = {},
): Promise<MockApi> {
  const changes = new EventEmitter().setMaxListeners(0);
  const world: MockWorld = {
    person: 'ada',
    consent: 'give',
    approver: 'absent',
    passkey: 'touches',
    outages: new Map(),
    redirectTo: undefined,
    clockAheadMs: 0,
    exportInstead: undefined,
  };
  let url = '';
  const now = () => Date.now() + world.clockAheadMs;
  const at = (offsetMs = 0) => formatInstant((now() + offsetMs) as Instant);
  const counters = new Map<string, number>();
  const nextId = (prefix: string) => {
    const n = (counters.get(prefix) ?? 0) + 1;
    counters.set(prefix, n);
    return idOf(prefix, n);
  };
  const ref = (person: Person) => ({ id: person.id, handle: person.handle });

  const roles: RoleView[] = [
    role('orders/support-read', 'Look into a support case', 4 * 3600, [
      { object: 'public.orders', actions: [{ action: 'select', columns: null }] },
      { object: 'public.customers', actions: [{ action: 'select', columns: ['id', 'name', 'country'] }] },
    ]),
    role('orders/fix-orders', 'Repair orders that are stuck', 3600, [
      {
        object: 'public.orders',
        actions: [
          { action: 'select', columns: null },
          { action: 'update', columns: ['status'] },
        ],
      },
    ]),
  ];
  const requests: RequestView[] = [];
  const grants: GrantView[] = [];
  const sessions: SessionView[] = [];
  const plans: PlanView[] = [];
  const entries: LogEntryView[] = [];
  const faults: unknown[] = [];

  // ── the log ────────────────────────────────────────────────────────────────────────────────────────────────────────
  const random = (length: number) => new Uint8Array(randomBytes(length));
  const noteKey = newNoteKey('sally.test/log', random);
  const signer = parseSigner(noteKey.skey);
  const contentKey: ContentKey = { id: 'ck_test', key: random(32) };
  const leaves: CopyEntry[] = [];
  const tiles = new Map<string, Uint8Array>();
  const tileStore = {
    read: (path: string) => Promise.resolve(tiles.get(path)),
    write: (path: string, bytes: Uint8Array) => Promise.resolve(void tiles.set(path, bytes)),
  };
  let tree: { readonly size: number; readonly root: Hash } = { size: 0, root: emptyRoot };
  let checkpoint = signCheckpoint(tree, signer);
  let appending = Promise.resolve();
  const record = (
    kind: EntryKind,
    actor: Person | 'system',
    subject: Record<string, string>,
    summary: string,
    more: { readonly facts?: Record<string, unknown>; readonly content?: Record<string, unknown> } = {},
  ) => {
    appending = appending.then(async () => {
      const id = nextId('ent') as EntryId;
      const instant = parseInstant(Math.floor(now())) ?? (0 as Instant);
      const sealed = sealContent(contentKey, id, { summary }, random);
      const entry = makeEntry(
        {
          kind,
          actor: actor === 'system' ? actor : (actor.id as PrincipalId),
          subjects: subject,
          content: sealed.hash,
        },
        { id, now: instant },
      );
      const leaf = encodeEntry(entry);
      leaves.push({ leaf, content: sealed.blob });
      tree = await appendLeaves(tileStore, tree, [leaf]);
      checkpoint = signCheckpoint(tree, signer);
      entries.push({
        index: leaves.length - 1,
        id,
        at: entry.at,
        kind,
        actor: actor === 'system' ? actor : ref(actor),
        subject,
        facts: more.facts ?? {},
        content: { summary, ...more.content },
        transaction: null,
        summary,
      });
    });
    return appending;
  };
  await record('system.started', 'system', {}, 'Sallyport started');

  // ── sign-in ────────────────────────────────────────────────────────────────────────────────────────────────────────
  const codes = new Map<string, Code>();
  const accessTokens = new Map<string, SignIn>();
  const usedUp = new Map<string, SignIn>();
  const refreshTokens = new Map<string, SignIn>();
  const seenProofs = new Set<string>();
  const tokenCounts = { refreshed: 0, reused: 0 };

  /** RFC 9449 §4.3. Answers the thumbprint of the key. */
  async function checkProof(request: IncomingMessage, path: string, accessToken: string | undefined): Promise<string> {
    const proof = request.headers['dpop'];
    if (typeof proof !== 'string') throw new Refusal('invalid_token', 'there is no DPoP proof');
    let verified;
    try {
      verified = await jwtVerify(proof, EmbeddedJWK, {
        typ: 'dpop+jwt',
        algorithms: ['ES256'],
        requiredClaims: ['jti', 'iat', 'htm', 'htu'],
        maxTokenAge: 60,
        clockTolerance: 5,
        currentDate: new Date(now()),
      });
    } catch {
      throw new Refusal('invalid_token', 'the DPoP proof is refused');
    }
    const { payload, protectedHeader } = verified;
    const ath = accessToken === undefined ? undefined : createHash('sha256').update(accessToken).digest('base64url');
    if (
      payload['htm'] !== request.method ||
      payload['htu'] !== url + path ||
      payload['ath'] !== ath ||
      typeof payload.jti !== 'string' ||
      seenProofs.has(payload.jti) ||
      protectedHeader.jwk === undefined ||
      'd' in protectedHeader.jwk
    )
      throw new Refusal('invalid_token', 'the DPoP proof is for another request');
    seenProofs.add(payload.jti);
    return calculateJwkThumbprint(protectedHeader.jwk);
  }

  async function whoAsks(request: IncomingMessage, path: string): Promise<SignIn> {
    const [scheme, token] = (request.headers.authorization ?? '').split(' ');
    if (scheme !== 'DPoP' || token === undefined) throw new Refusal('not_signed_in', 'you are not signed in');
    const jkt = await checkProof(request, path, token);
    const signIn = accessTokens.get(token);
    if (signIn === undefined || signIn.ended || signIn.jkt !== jkt)
      throw new Refusal('invalid_token', 'the access token is over');
    return signIn;
  }

  function giveTokens(signIn: SignIn) {
    const accessToken = `at_${randomBytes(16).toString('base64url')}`;
    accessTokens.set(accessToken, signIn);
    refreshTokens.set(signIn.refreshToken, signIn);
    return { access_token: accessToken, token_type: 'DPoP', expires_in: 900, refresh_token: signIn.refreshToken };
  }
  const newRefreshToken = () => `rt_${randomBytes(16).toString('base64url')}`;

  async function token(request: IncomingMessage, form: URLSearchParams): Promise<[number, unknown]> {
    const bad = (error: string): [number, unknown] => [400, { error }];
    let jkt;
    try {
      jkt = await checkProof(request, '/oauth/token', undefined);
    } catch {
      return bad('invalid_dpop_proof');
    }
    if (form.get('client_id') !== 'sally-cli') return bad('invalid_client');
    if (form.get('grant_type') === 'authorization_code') {
      const code = codes.get(form.get('code') ?? '');
      codes.delete(form.get('code') ?? '');
      const challenge = createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url');
      if (code === undefined || code.challenge !== challenge || code.redirectUri !== form.get('redirect_uri'))
        return bad('invalid_grant');
      if (code.jkt !== jkt) return bad('invalid_dpop_proof');
      return [200, giveTokens({ person: code.person, jkt, ended: false, refreshToken: newRefreshToken() })];
    }
    if (form.get('grant_type') !== 'refresh_token') return bad('unsupported_grant_type');
    const given = form.get('refresh_token') ?? '';
    const reused = usedUp.get(given);
    if (reused !== undefined) {
      // RFC 9700 §4.14.2: one of two that hold the same token is a thief.
      reused.ended = true;
      tokenCounts.reused += 1;
      return bad('invalid_grant');
    }
    const signIn = refreshTokens.get(given);
    if (signIn === undefined || signIn.ended || signIn.jkt !== jkt) return bad('invalid_grant');
    refreshTokens.delete(given);
    usedUp.set(given, signIn);
    signIn.refreshToken = newRefreshToken();
    tokenCounts.refreshed += 1;
    return [200, giveTokens(signIn)];
  }

  // ── pages of the console, where a person acts ──────────────────────────────────────────────────────────────────────
  async function authorize(query: URLSearchParams): Promise<string> {
    const redirectUri = query.get('redirect_uri') ?? '';
    if (!/^http:\/\/127\.0\.0\.1:\d+\/callback$/.test(redirectUri) || query.get('code_challenge_method') !== 'S256')
      throw new Refusal('invalid_input', 'not a sign-in of the CLI');
    const back = (parts: Record<string, string>) => `${redirectUri}?${new URLSearchParams(parts).toString()}`;
    const state = query.get('state') ?? '';
    if (world.consent === 'refuse') return back({ error: 'access_denied', state, iss: url });
    if (world.consent === 'other-state-first') {
      const answer = await fetch(back({ code: 'stolen', state: 'x'.repeat(32), iss: url }));
      if (answer.status !== 400) throw new Error('the loopback server took another state');
    }
    const code = `code_${randomBytes(16).toString('base64url')}`;
    codes.set(code, {
      person: people[world.person],
      challenge: query.get('code_challenge') ?? '',
      redirectUri,
      jkt: query.get('dpop_jkt') ?? '',
    });
    return back({ code, state, iss: world.consent === 'other-issuer' ? 'https://evil.example' : url });
  }

  function visit(path: string): void {
    if (world.passkey === 'stays-away') return;
    const grant = grants.findIndex((g) => path === `/grants/${g.id}`);
    const found = grants[grant];
    if (found?.state === 'approved') {
      grants[grant] = activated(found);
      void record('grant.activated', people.ada, { grant: found.id }, `ada activated ${found.role}`);
    }
    const plan = plans.findIndex((p) => path === `/plans/${p.id}`);
    const open = plans[plan];
    if (open?.state === 'open') plans[plan] = { ...open, state: 'applied' };
    changes.emit('change');
  }

  function activated(grant: GrantView): GrantView {
    return {
      ...grant,
      state: 'active',
      activatedAt: at(),
      endsAt: at(grant.seconds * 1000),
      you: { mayActivate: false, mayConnect: true, mayEnd: true },
    };
  }

  // ── what the endpoints do ──────────────────────────────────────────────────────────────────────────────────────────
  function role(name: string, description: string, maxSeconds: number, permissions: RoleView['permissions']): RoleView {
    return {
      role: name,
      resource: name.split('/')[0] ?? '',
      kind: 'postgres',
      description,
      resourceDescription: 'The shop’s orders',
      labels: {},
      maxSeconds,
      permissions,
      approvers: { groups: ['dba'], count: 1 },
      mayRequest: true,
      pendingRequest: null,
      grant: null,
    };
  }

  function newRequest(
    by: Person,
    wanted: {
      role: string;
      seconds: number;
      reason: string;
      ticket?: string | undefined;
      startsAt?: string | undefined;
    },
  ): RequestView {
    const known = roles.find((r) => r.role === wanted.role);
    if (known === undefined) throw new Refusal('not_found', `there is no role \`${wanted.role}\` that you may ask for`);
    if (wanted.seconds > known.maxSeconds)
      throw new Refusal('forbidden', 'that is longer than the role allows', 'ask for 4h at most');
    const request: RequestView = {
      id: nextId('req'),
      state: 'pending',
      requester: ref(by),
      role: known.role,
      resource: known.resource,
      seconds: wanted.seconds,
      reason: wanted.reason,
      ticket: wanted.ticket ?? null,
      startsAt: wanted.startsAt ?? null,
      filedAt: at(),
      expiresAt: at(3_600_000),
      decidedAt: null,
      statement: null,
      approvals: [],
      approvalsNeeded: 1,
      approverGroups: ['dba'],
      denial: null,
      grant: null,
      permissions: known.permissions,
      you: { isRequester: true, mayDecide: false, because: 'it is your own request' },
    };
    requests.push(request);
    void record('request.filed', by, { request: request.id }, `${by.handle} asked for ${known.role}`);
    return request;
  }

  function newGrant(
    request: Pick<RequestView, 'id' | 'requester' | 'role' | 'resource' | 'seconds' | 'reason' | 'startsAt'>,
  ) {
    const grant: GrantView = {
      id: nextId('grt'),
      state: 'approved',
      request: request.id,
      principal: request.requester,
      role: request.role,
      resource: request.resource,
      seconds: request.seconds,
      reason: request.reason,
      notBefore: request.startsAt ?? at(),
      activateBy: at(3_600_000),
      activatedAt: null,
      endsAt: null,
      endedAt: null,
      how: null,
      endedBy: null,
      openSessions: 0,
      once: false,
      you: { mayActivate: true, mayConnect: false, mayEnd: true },
    };
    grants.push(grant);
    return grant;
  }

  function decide(id: string): void {
    const index = requests.findIndex((r) => r.id === id);
    const request = requests[index];
    if (request?.state !== 'pending' || world.approver === 'absent') return;
    const decidedAt = at();
    if (world.approver === 'denies') {
      requests[index] = { ...request, state: 'denied', decidedAt, denial: { by: ref(people.bob), word: 'not today' } };
      void record('request.denied', people.bob, { request: id }, `bob denied ${request.role}`);
    } else {
      const grant = newGrant(request);
      const approvals = [{ by: ref(people.bob), at: decidedAt, proof: nextId('prf') }];
      requests[index] = { ...request, state: 'approved', decidedAt, approvals, grant: grant.id };
      void record('request.approved', people.bob, { request: id }, `bob approved ${request.role}`);
    }
    changes.emit('change');
  }

  /** Answers at once when it is over, else when something changes or the time is up. */
  async function hold<T>(seconds: number, look: () => T, isOver: (value: T) => boolean): Promise<T> {
    const until = Date.now() + seconds * 1000;
    for (;;) {
      const value = look();
      const rest = until - Date.now();
      if (isOver(value) || rest <= 0) return value;
      await once(changes, 'change', { signal: AbortSignal.timeout(rest) }).catch(() => {});
    }
  }

  function found<T extends { readonly id: string }>(list: readonly T[], id: string, what: string): T {
    const item = list.find((one) => one.id === id);
    if (item === undefined) throw new Refusal('not_found', `there is no such ${what}`);
    return item;
  }

  function page<T>(items: readonly T[], query: { cursor?: string | undefined; limit: number }) {
    const start = query.cursor === undefined ? 0 : Number(query.cursor);
    const end = start + query.limit;
    return { items: items.slice(start, end), next: end < items.length ? String(end) : null };
  }

  function seenBy(request: RequestView, person: Person): RequestView {
    const isRequester = request.requester.id === person.id;
    const mayDecide = !isRequester && person.groups.includes('dba') && request.state === 'pending';
    return { ...request, you: { isRequester, mayDecide, because: isRequester ? 'it is your own request' : null } };
  }

  type Handlers = {
    readonly [K in EndpointName]?: (
      input: ParsedOf<(typeof endpoints)[K]>,
      signIn: SignIn,
    ) => z.input<(typeof endpoints)[K]['answer']> | Promise<z.input<(typeof endpoints)[K]['answer']>>;
  };
  const stranger: SignIn = { person: people.ada, jkt: '', ended: true, refreshToken: '' };
  const handlers: Handlers = {
    about: () => ({
      name: 'sallyport',
      version: '0.1.0',
      publicUrl: url,
      logKey: noteKey.vkey,
      postgres: { host: 'localhost', port: 6432 },
    }),
    me: (_, { person }) => ({
      principal: ref(person),
      name: person.name,
      groups: [...person.groups],
      session: { kind: 'cli', expiresAt: at(12 * 3_600_000), provenAt: at() },
      may: {
        administerPrincipals: person === people.bob,
        administerConfiguration: person === people.bob,
        seeAllGrants: person === people.bob,
        readLog: person === people.bob ? 'all' : 'own',
      },
      authenticators: 1,
      notices: [],
    }),
    listRoles: () => ({
      items: roles.map((r) => ({
        ...r,
        pendingRequest: requests.find((q) => q.role === r.role && q.state === 'pending')?.id ?? null,
        grant: grants.find((g) => g.role === r.role && g.state !== 'ended')?.id ?? null,
      })),
    }),
    fileRequest: ({ body }, { person }) => newRequest(person, body),
    listRequests: ({ query }, { person }) =>
      page(
        requests
          .filter((r) =>
            query.box === 'mine'
              ? r.requester.id === person.id
              : query.box === 'all' || (r.state === 'pending' && r.requester.id !== person.id && person === people.bob),
          )
          .map((r) => seenBy(r, person)),
        query,
      ),
    getRequest: async ({ params, query }, { person }) => {
      found(requests, params.id, 'request');
      if (query.waitSeconds > 0) decide(params.id);
      const request = await hold(
        query.waitSeconds,
        () => found(requests, params.id, 'request'),
        (r) => r.state !== 'pending',
      );
      return seenBy(request, person);
    },
    denyRequest: ({ params, body }, { person }) => {
      const request = found(requests, params.id, 'request');
      if (request.requester.id === person.id) throw new Refusal('own_request', 'it is your own request');
      if (request.state !== 'pending') throw new Refusal('already_decided', 'the request was decided already');
      const denied: RequestView = {
        ...request,
        state: 'denied',
        decidedAt: at(),
        denial: { by: ref(person), word: body.word },
      };
      requests[requests.indexOf(request)] = denied;
      return denied;
    },
    withdrawRequest: ({ params }) => {
      const request = found(requests, params.id, 'request');
      if (request.state !== 'pending') throw new Refusal('already_decided', 'the request was decided already');
      const withdrawn: RequestView = { ...request, state: 'withdrawn', decidedAt: at() };
      requests[requests.indexOf(request)] = withdrawn;
      return withdrawn;
    },
    // Nothing is held here: the story holds for real.
    listHolds: () => ({ items: [], next: null }),
    listGrants: ({ query }, { person }) =>
      page(
        grants.filter(
          (g) =>
            (query.scope === 'all' || g.principal.id === person.id) &&
            (query.state === undefined || (query.state === 'live' ? g.state !== 'ended' : g.state === query.state)),
        ),
        query,
      ),
    getGrant: ({ params, query }) =>
      hold(
        query.waitSeconds,
        () => found(grants, params.id, 'grant'),
        (g) => query.while === undefined || g.state !== query.while,
      ),
    endGrant: ({ params, body }, { person }) => {
      const grant = found(grants, params.id, 'grant');
      if (grant.state === 'ended') throw new Refusal('already_ended', 'the grant is over already');
      const own = grant.principal.id === person.id;
      const ended: GrantView = {
        ...grant,
        state: 'ended',
        endedAt: at(),
        how: own ? 'handed_back' : 'revoked',
        endedBy: ref(person),
        openSessions: 0,
        you: { mayActivate: false, mayConnect: false, mayEnd: false },
      };
      grants[grants.indexOf(grant)] = ended;
      void record(
        'grant.ended',
        person,
        { grant: grant.id },
        `${person.handle} ended ${grant.role} ${body.word ?? ''}`,
      );
      return ended;
    },
    issueCredential: ({ params }) => {
      const grant = found(grants, params.id, 'grant');
      if (grant.state !== 'active' || grant.endsAt === null) throw new Refusal('conflict', 'the grant is not active');
      return {
        grant: grant.id,
        user: 'ada.k3v9x2m1',
        password: 'p/w d@:%"\'$x',
        host: 'localhost',
        port: 6432,
        database: 'orders',
        sslmode: 'verify-full',
        caCertificate: '-----BEGIN CERTIFICATE-----\ntest\n-----END CERTIFICATE-----\n',
        expiresAt: grant.endsAt,
      };
    },
    listSessions: ({ query }, { person }) =>
      page(
        sessions.filter(
          (s) =>
            (query.scope === 'all' || s.principal.id === person.id) &&
            (query.state === undefined || s.state === query.state) &&
            (query.grant === undefined || s.grant === query.grant),
        ),
        query,
      ),
    listLog: async ({ query }, { person }) => {
      await appending;
      if (query.scope === 'all' && person !== people.bob) throw new Refusal('forbidden', 'you may read your own only');
      const chosen = entries.filter(
        (e) =>
          (query.kind === undefined || e.kind === query.kind) &&
          (query.since === undefined || e.at >= query.since) &&
          (query.grant === undefined || e.subject['grant'] === query.grant),
      );
      return page(query.order === 'newest' ? chosen.toReversed() : chosen, query);
    },
    proveEntry: async ({ params }) => {
      await appending;
      const entry = found(entries, params.id, 'entry');
      const index = entry.index ?? 0;
      const leaf = leaves[index]?.leaf ?? new Uint8Array();
      const receipt = await proveEntry(tileStore, { index, leaf, checkpoint }, noteKey.vkey);
      return JSON.parse(formatReceipt(receipt)) as Record<string, unknown>;
    },
    logCheckpoint: async () => {
      await appending;
      return checkpoint;
    },
    exportLog: async () => {
      await appending;
      if (world.exportInstead !== undefined) return world.exportInstead;
      const lines: string[] = [];
      await writeCopy(
        { signer, checkpoint, earlierCheckpoints: [], entries: leaves, contentKeys: [contentKey] },
        {
          write: (path, bytes) => {
            lines.push(JSON.stringify({ path, data: Buffer.from(bytes).toString('base64') }));
            return Promise.resolve();
          },
        },
      );
      return [...lines, '{"done":true}', ''].join('\n');
    },
    makePlan: ({ body }, { person }) => {
      if (person !== people.bob) throw new Refusal('forbidden', 'you may not change the configuration');
      if (body.text.includes('broken'))
        return { faults: [{ file: body.file, line: 3, column: 5, message: '`broken` is not known here' }] };
      if (body.text.includes('unchanged')) return { unchanged: true as const };
      const plan: PlanView = {
        id: nextId('pln'),
        state: 'open',
        by: ref(person),
        createdAt: at(),
        expiresAt: at(600_000),
        configurationHash: 'abc',
        added: [{ what: 'role', name: 'orders/fix-orders', details: ['update on public.orders (status)'] }],
        changed: [{ what: 'resource', name: 'orders', details: ['port: 5432 becomes 5433'] }],
        removed: [{ what: 'policy', name: 'policies/old.cedar', details: [] }],
      };
      plans.push(plan);
      return { plan };
    },
    getPlan: ({ params, query }) =>
      hold(
        query.waitSeconds,
        () => found(plans, params.id, 'plan'),
        (p) => p.state !== 'open',
      ),
  };

  // ── HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────────
  const matchers = (Object.entries(endpoints) as [EndpointName, Endpoint][]).map(([name, e]) => ({
    name,
    e,
    pattern: new RegExp(`^${e.path.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
  }));

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', url);
    const body = await text(request);
    if (world.clockAheadMs !== 0) response.setHeader('date', new Date(now()).toUTCString());
    const outage = world.outages.get(pathname) ?? 0;
    if (outage > 0) {
      world.outages.set(pathname, outage - 1);
      return send(response, 503, { error: { code: 'unavailable', message: 'the store is away' } });
    }
    if (world.redirectTo !== undefined) {
      response.writeHead(307, { location: world.redirectTo + (request.url ?? '') }).end();
      return;
    }
    if (pathname === '/oauth/token' && request.method === 'POST')
      return send(response, ...(await token(request, new URLSearchParams(body))));
    if (pathname === '/oauth/revoke' && request.method === 'POST') {
      const signIn = refreshTokens.get(new URLSearchParams(body).get('token') ?? '');
      if (signIn !== undefined) signIn.ended = true;
      return send(response, 200, {});
    }
    if (pathname === '/authorize') {
      response.writeHead(302, { location: await authorize(searchParams) }).end();
      return;
    }
    if (!pathname.startsWith('/api/')) {
      visit(pathname);
      response.writeHead(200, { 'content-type': 'text/html' }).end('<p>the console</p>');
      return;
    }
    const matched = matchers.find(({ e, pattern }) => e.method === request.method && pattern.test(pathname));
    if (matched === undefined) throw new Refusal('not_found', 'there is no such endpoint');
    const { name, e, pattern } = matched;
    const signIn = e.for === 'stranger' ? stranger : await whoAsks(request, pathname);
    const input = {
      ...(e.params && { params: parse(e.params, { ...pattern.exec(pathname)?.groups }) }),
      ...(e.query && { query: parse(e.query, Object.fromEntries(searchParams)) }),
      ...(e.body && { body: parse(e.body, JSON.parse(body === '' ? '{}' : body)) }),
    };
    const handler = handlers[name] as ((input: unknown, signIn: SignIn) => unknown) | undefined;
    if (handler === undefined) throw new Error(`the mock has no ${name}`);
    const answer = e.answer.parse(await handler(input, signIn));
    if (e.answerType === undefined) return send(response, 200, answer);
    response.writeHead(200, { 'content-type': e.answerType }).end(answer);
  }

  const listener = (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response).catch((error: unknown) => {
      if (error instanceof Refusal)
        return send(response, errorStatus[error.code], {
          error: {
            code: error.code,
            message: error.message,
            ...(error.hint === undefined ? {} : { hint: error.hint }),
          },
        });
      faults.push(error);
      return send(response, 500, { error: { code: 'fault', message: 'something went wrong' } });
    });
  };
  const server = options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP listener has a port');
  url = options.tls === undefined ? `http://127.0.0.1:${address.port}` : `https://localhost:${address.port}`;

  return {
    url,
    logKey: noteKey.vkey,
    world,
    roles,
    requests,
    grants,
    sessions,
    tokenCounts,
    faults,
    onRequest: (listen) => void server.on('request', listen),
    expireAccessTokens: () => accessTokens.clear(),
    addRequest: (name, by, reason) => newRequest(people[by], { role: name, seconds: 3600, reason }),
    addGrant: (name, state, seconds) => {
      const grant = newGrant({
        id: nextId('req'),
        requester: ref(people.ada),
        role: name,
        resource: name.split('/')[0] ?? '',
        seconds,
        reason: 'INC-4211 refund stuck',
        startsAt: null,
      });
      if (state === 'approved') return grant;
      const active = activated(grant);
      grants[grants.indexOf(grant)] = active;
      return active;
    },
    addJudged: async () => {
      const grant = 'grt_00000000000000000000000001';
      const facts = { decision: 'deny', policies: ['ours:update-names-its-rows'], policyVersion: '0123456789abcdef' };
      const { id, handle } = people.ada;
      const question = {
        now: 1_767_787_200_000,
        principal: { id, handle, name: 'Ada', kind: 'user', state: 'active', groups: ['engineering'] },
        role: 'orders/fix-orders',
        grant: { id: grant, principal: id, role: 'orders/fix-orders' },
        needs: [{ action: 'update', object: { kind: 'table', schema: 'public', name: 'orders' }, columns: ['status'] }],
        context: { statementClass: 'write', hasWhere: false, statementCount: 1, functions: [] },
        client: { address: '10.1.2.3', tls: true },
      };
      const on = { grant, principal: id, role: 'orders/fix-orders', resource: 'orders' };
      await record('statement.judged', people.ada, on, 'policy is asked', { facts, content: { question } });
      const session = 'ses_00000000000000000000000001';
      const { decision: _, ...answered } = facts;
      await record(
        'statement.denied',
        people.ada,
        { ...on, session, statement: '1' },
        'update orders set status = … · denied',
        {
          facts: { outcome: 'denied', ...answered },
          content: { error: 'permission denied' },
        },
      );
    },
    addEntries: async (count) => {
      for (let i = 0; i < count; i += 1) void record('log.read', people.ada, {}, `select ${i}`);
      await appending;
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function parse(schema: z.ZodType, value: unknown): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Refusal(
    'invalid_input',
    `\`${issue?.path.join('.') ?? ''}\`: ${issue?.message ?? 'not what was expected'}`,
  );
}

function send(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
