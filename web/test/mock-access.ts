/** The mock's roles, requests, grants, sessions and log. */
import type { GrantView, RequestView } from '#contract/views.ts';
import { type Handlers, Refusal } from './mock-handlers.ts';
import { at, id, type Person, record, refOf, type World } from './mock-world.ts';

const missing = (what: string) => new Refusal('not_found', `find ${what}: there is none`);
type Request = Omit<RequestView, 'you'>;
type Grant = Omit<GrantView, 'you'>;

export function requestOf(world: World, wanted: string): Request {
  const request = world.requests.get(wanted);
  if (request === undefined) throw missing('a request');
  return request;
}

export function grantOf(world: World, wanted: string): Grant {
  const grant = world.grants.get(wanted);
  if (grant === undefined) throw missing('a grant');
  return grant;
}

const mayDecide = (request: Request, person: Person) =>
  request.requester.id !== person.id &&
  person.groups.some((group) => request.approverGroups.includes(group)) &&
  !request.approvals.some(({ by }) => by.id === person.id);

export function viewRequest(request: Request, person: Person): RequestView {
  const isRequester = request.requester.id === person.id;
  const may = request.state === 'pending' && mayDecide(request, person);
  const because = isRequester
    ? 'Nobody approves their own request.'
    : request.approvals.some(({ by }) => by.id === person.id)
      ? 'You have approved it already.'
      : `Only ${request.approverGroups.join(' or ')} may decide this.`;
  return { ...request, you: { isRequester, mayDecide: may, because: may ? null : because } };
}

export function viewGrant(grant: Grant, person: Person): GrantView {
  const isMine = grant.principal.id === person.id;
  return {
    ...grant,
    you: {
      mayActivate: isMine && grant.state === 'approved' && Date.parse(grant.notBefore) <= Date.now(),
      mayConnect: isMine && grant.state === 'active',
      mayEnd: grant.state !== 'ended' && (isMine || person.isAdministrator || person.groups.includes('dba')),
    },
  };
}

const newestFirst = <T extends { readonly id: string }>(items: Iterable<T>): T[] =>
  [...items].sort((a, b) => (a.id < b.id ? 1 : -1));

export function accessHandlers(
  world: World,
): Pick<
  Handlers,
  | 'listRoles'
  | 'fileRequest'
  | 'listRequests'
  | 'getRequest'
  | 'denyRequest'
  | 'withdrawRequest'
  | 'listGrants'
  | 'getGrant'
  | 'endGrant'
  | 'issueCredential'
  | 'listSessions'
  | 'getSession'
> {
  const mayAsk = (person: Person, role: string) =>
    (world.requesters.get(role) ?? []).some((group) => person.groups.includes(group));
  return {
    listRoles: (_, call) => ({
      items: world.roles
        .filter(({ role }) => mayAsk(call.person, role))
        .map((role) => ({
          ...role,
          mayRequest: true,
          pendingRequest:
            [...world.requests.values()].find(
              (request) =>
                request.role === role.role && request.state === 'pending' && request.requester.id === call.person.id,
            )?.id ?? null,
          grant: null,
        })),
    }),
    fileRequest: ({ body }, call) => {
      const role = world.roles.find((one) => one.role === body.role);
      if (role === undefined || !mayAsk(call.person, body.role)) throw missing('a role');
      if (body.seconds > role.maxSeconds) throw new Refusal('forbidden', 'ask for a role: that is too long');
      const request: Request = {
        id: id('request'),
        state: 'pending',
        requester: refOf(call.person),
        role: role.role,
        resource: role.resource,
        seconds: body.seconds,
        reason: body.reason,
        ticket: body.ticket ?? null,
        startsAt: body.startsAt ?? null,
        filedAt: at(),
        expiresAt: at(3600),
        decidedAt: null,
        statement: null,
        approvals: [],
        approvalsNeeded: role.approvers.count,
        approverGroups: role.approvers.groups,
        denial: null,
        grant: null,
        permissions: role.permissions,
      };
      world.requests.set(request.id, request);
      record(
        world,
        'request.filed',
        `${call.person.handle} asked for ${role.role}`,
        call.person,
        { request: request.id },
        { seconds: body.seconds },
        { reason: body.reason },
      );
      return viewRequest(request, call.person);
    },
    listRequests: ({ query }, call) => {
      const all = newestFirst(world.requests.values()).filter(
        (request) =>
          (query.state === undefined || request.state === query.state) &&
          (query.box === 'all' ||
            (query.box === 'mine'
              ? request.requester.id === call.person.id
              : request.state === 'pending' && mayDecide(request, call.person))),
      );
      const page = call.page(all, query);
      return { ...page, items: page.items.map((request) => viewRequest(request, call.person)) };
    },
    getRequest: ({ params }, call) => viewRequest(requestOf(world, params.id), call.person),
    denyRequest: ({ params, body }, call) => {
      const request = requestOf(world, params.id);
      if (!mayDecide(request, call.person)) throw new Refusal('forbidden', 'deny a request: it is not yours to decide');
      const next: Request = {
        ...request,
        state: 'denied',
        decidedAt: at(),
        denial: { by: refOf(call.person), word: body.word },
      };
      world.requests.set(request.id, next);
      record(
        world,
        'request.denied',
        `${call.person.handle} denied ${request.requester.handle}’s request`,
        call.person,
        { request: request.id },
      );
      return viewRequest(next, call.person);
    },
    withdrawRequest: ({ params }, call) => {
      const request = requestOf(world, params.id);
      if (request.requester.id !== call.person.id)
        throw new Refusal('forbidden', 'withdraw a request: it is not yours');
      const next: Request = { ...request, state: 'withdrawn', decidedAt: at() };
      world.requests.set(request.id, next);
      return viewRequest(next, call.person);
    },
    listGrants: ({ query }, call) => {
      const found = newestFirst(world.grants.values()).filter(
        (grant) =>
          (query.scope === 'all' || grant.principal.id === call.person.id) &&
          (query.state === undefined ||
            (query.state === 'live' ? grant.state !== 'ended' : grant.state === query.state)),
      );
      const page = call.page(found, query);
      return { ...page, items: page.items.map((grant) => viewGrant(grant, call.person)) };
    },
    getGrant: ({ params }, call) => viewGrant(grantOf(world, params.id), call.person),
    endGrant: ({ params }, call) => {
      const grant = grantOf(world, params.id);
      if (grant.state === 'ended') throw new Refusal('already_ended', 'end a grant: it has ended');
      const isMine = grant.principal.id === call.person.id;
      const next: Grant = {
        ...grant,
        state: 'ended',
        endedAt: at(),
        how: isMine ? 'handed_back' : 'revoked',
        endedBy: refOf(call.person),
        openSessions: 0,
      };
      world.grants.set(grant.id, next);
      record(
        world,
        'grant.ended',
        `${call.person.handle} ${isMine ? 'handed back' : 'revoked'} ${grant.role}`,
        call.person,
        { grant: grant.id },
      );
      return viewGrant(next, call.person);
    },
    issueCredential: ({ params }, call) => {
      const grant = grantOf(world, params.id);
      if (grant.state !== 'active') throw new Refusal('conflict', 'make a login: the grant is not active');
      return {
        grant: grant.id,
        user: `${call.person.handle}.k3jx9q2m`,
        password: 'qYw3-7b!x/5+Zr',
        host: 'localhost',
        port: 6432,
        database: grant.resource,
        sslmode: 'verify-full',
        caCertificate: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
        expiresAt: grant.endsAt ?? at(60),
      };
    },
    listSessions: ({ query }, call) =>
      call.page(
        newestFirst(world.sessions.values()).filter(
          (session) =>
            (query.scope === 'all' || session.principal.id === call.person.id) &&
            (query.grant === undefined || session.grant === query.grant) &&
            (query.state === undefined || session.state === query.state),
        ),
        query,
      ),
    getSession: ({ params }) => {
      const session = world.sessions.get(params.id);
      if (session === undefined) throw missing('a session');
      return session;
    },
  };
}
