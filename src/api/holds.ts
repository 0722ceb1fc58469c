/** What is held, the refusals a request can refer to, and what goes on being covered. Signing is a proof (proofs.ts). */
import type { AppContext, Caller, Outcome } from '#app/context.ts';
import { endCover } from '#app/covers.ts';
import { readDenial } from '#app/denials.ts';
import { readGrant } from '#app/read-grants.ts';
import { readCovers, readHold, readHolds } from '#app/read-holds.ts';
import { denyHold, giveReason, withdraw } from '#app/settle-hold.ts';
import type { CoverId, DenialId, GrantId, HoldId } from '#core/ids.ts';
import { map, type Handlers } from './handler.ts';
import { presentCover, presentDenial, presentHold, presentPage } from './present.ts';
import { readWhenChanged } from './waiters.ts';

type Names =
  | 'listHolds'
  | 'getHold'
  | 'denyHold'
  | 'withdrawHold'
  | 'giveReason'
  | 'getDenial'
  | 'listCovers'
  | 'endCover';

// The contract's schemas have checked the form of ids; `as` says so to the compiler.
export const holdHandlers: Pick<Handlers, Names> = {
  listHolds: async ({ app, caller, query }) => {
    const { box, state, cursor, limit } = query;
    const page = await readHolds(app, caller, {
      box,
      limit,
      ...(state === undefined ? {} : { state }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    return { kind: 'done', value: presentPage(page, presentHold) };
  },

  getHold: async (call) => {
    const id = call.params.id as HoldId;
    const { waitSeconds, while: known } = call.query;
    let first: number | undefined;
    const outcome = await readWhenChanged(call, {
      seconds: waitSeconds,
      read: async (caller) => await readHold(call.app, caller, id),
      // A signature or a preview is news as well, while it waits on.
      isOver: (hold) => {
        const seen =
          hold.signatures.length + (hold.preview === undefined ? 0 : 1) + (hold.reason === undefined ? 0 : 1);
        first ??= seen;
        return known === undefined || hold.state !== known || seen !== first;
      },
      concerns: (change) => change.kind === 'hold' && change.hold === id,
    });
    return map(outcome, presentHold);
  },

  denyHold: async ({ app, caller, params, body }) =>
    await shown(
      app,
      caller,
      await denyHold(app, caller, {
        hold: params.id as HoldId,
        word: body.word,
        endsSession: body.endSession === true,
      }),
    ),

  withdrawHold: async ({ app, caller, params }) =>
    await shown(app, caller, await withdraw(app, { caller }, { hold: params.id as HoldId, because: 'by_requester' })),

  giveReason: async ({ app, caller, params, body }) =>
    await shown(app, caller, await giveReason(app, caller, { hold: params.id as HoldId, reason: body.reason })),

  getDenial: async ({ app, caller, params }) =>
    map(await readDenial(app, caller, params.id as DenialId), presentDenial),

  listCovers: async ({ app, caller, params }) => await covers(app, caller, params.id as GrantId),

  endCover: async ({ app, caller, params, body }) => {
    const outcome = await endCover(app, caller, { cover: params.id as CoverId, word: body.word });
    return outcome.kind === 'refused' ? outcome : await covers(app, caller, outcome.value);
  },
};

async function shown(app: AppContext, caller: Caller, outcome: Outcome<HoldId>) {
  return outcome.kind === 'refused' ? outcome : map(await readHold(app, caller, outcome.value), presentHold);
}

/** Who sees the grant sees what goes under it. */
async function covers(app: AppContext, caller: Caller, id: GrantId) {
  const grant = await readGrant(app, caller, id);
  if (grant.kind === 'refused') return grant;
  return { kind: 'done' as const, value: { items: (await readCovers(app, id)).map(presentCover) } };
}
