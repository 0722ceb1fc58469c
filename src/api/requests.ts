/** Roles one may ask for, and requests. Approving one is a proof (proofs.ts). */
import type { Caller, AppContext, Outcome } from '#app/context.ts';
import { denyRequest } from '#app/deny-request.ts';
import { fileRequest } from '#app/file-request.ts';
import { readRequest, readRequests } from '#app/read-requests.ts';
import { readRoles } from '#app/read-roles.ts';
import { withdrawRequest } from '#app/withdraw-request.ts';
import type { DenialId, RequestId, RoleName } from '#core/ids.ts';
import { parseInstant, seconds } from '#core/instant.ts';
import { map, type Handlers } from './handler.ts';
import { presentPage, presentRequest, presentRole } from './present.ts';
import { readWhenChanged } from './waiters.ts';

type Names = 'listRoles' | 'fileRequest' | 'listRequests' | 'getRequest' | 'denyRequest' | 'withdrawRequest';

// The contract's schemas have checked the form of ids and names; `as` says so to the compiler.
export const requestHandlers: Pick<Handlers, Names> = {
  listRoles: async ({ app, caller }) => ({
    kind: 'done',
    value: { items: (await readRoles(app, caller)).map(presentRole) },
  }),

  fileRequest: async ({ app, caller, body }) =>
    await shown(
      app,
      caller,
      await fileRequest(app, caller, {
        role: body.role as RoleName,
        duration: seconds(body.seconds),
        reason: body.reason,
        ticket: body.ticket,
        startsAt: parseInstant(body.startsAt),
        denial: body.denial as DenialId | undefined,
        once: body.once,
      }),
    ),

  listRequests: async ({ app, caller, query }) => {
    const { box, state, cursor, limit } = query;
    const page = await readRequests(app, caller, {
      box,
      limit,
      ...(state === undefined ? {} : { state }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    return { kind: 'done', value: presentPage(page, presentRequest) };
  },

  getRequest: async (call) => {
    const id = call.params.id as RequestId;
    const outcome = await readWhenChanged(call, {
      seconds: call.query.waitSeconds,
      read: async (caller) => await readRequest(call.app, caller, id),
      isOver: (request) => request.state !== 'pending',
      concerns: (change) => change.kind === 'request' && change.request === id,
    });
    return map(outcome, presentRequest);
  },

  denyRequest: async ({ app, caller, params, body }) =>
    await shown(app, caller, await denyRequest(app, caller, { request: params.id as RequestId, word: body.word })),

  withdrawRequest: async ({ app, caller, params }) =>
    await shown(app, caller, await withdrawRequest(app, caller, params.id as RequestId)),
};

async function shown(app: AppContext, caller: Caller, outcome: Outcome<RequestId>) {
  return outcome.kind === 'refused' ? outcome : map(await readRequest(app, caller, outcome.value), presentRequest);
}
