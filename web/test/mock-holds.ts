/** What the mock holds: statements and acts that wait for somebody's passkey. */
import type { HoldView } from '#contract/views.ts';
import type { ProofContent } from '#core/proof.ts';
import { textHash } from '#log/challenge.ts';
import { type Handlers, Refusal } from './mock-handlers.ts';
import { at, type Person, record, refOf, type World } from './mock-world.ts';

export type StoredHold = Omit<HoldView, 'you'>;

const missing = () => new Refusal('not_found', 'find a hold: there is none');

export function holdOf(world: World, hold: string): StoredHold {
  const found = world.holds.get(hold);
  if (found === undefined) throw missing();
  return found;
}

const isLive = ({ state }: StoredHold) => state === 'waiting' || state === 'cured';
const lacks = (hold: StoredHold, kind: string) => hold.cures.some((cure) => cure.kind === kind && !cure.done);

export function viewHold(hold: StoredHold, person: Person): HoldView {
  const isRequester = hold.requester.id === person.id;
  const isApprover = person.groups.includes('dba');
  const waits = hold.state === 'waiting';
  return {
    ...hold,
    you: {
      isRequester,
      canProve: isRequester && waits && (lacks(hold, 'proof') || lacks(hold, 'preview')),
      canApprove: !isRequester && isApprover && waits && lacks(hold, 'approval'),
      canDeny: !isRequester && isApprover && isLive(hold),
      canWithdraw: isRequester && isLive(hold),
      canGiveReason: isRequester && waits && lacks(hold, 'reason'),
      because: isRequester ? 'Nobody approves their own.' : isApprover ? null : 'You are not one of its approvers.',
    },
  };
}

/** The content of a proof over a hold. */
export function holdContent(world: World, purpose: 'do_action' | 'approve_action', id: string): ProofContent {
  const hold = holdOf(world, id);
  // Ids and names of the sample are well-formed; the mock keeps them as the API shows them.
  const statement = {
    subject: 'statement',
    hold: hold.id,
    grant: hold.grant?.id,
    session: hold.session,
    resource: hold.resource,
    role: hold.role,
    text: hold.text,
    parameters: hold.parameters,
    digest: 'd'.repeat(64),
    needs: hold.needs,
    askedBy: hold.askedBy.map(({ policy }) => policy),
    ...(hold.preview === null ? {} : { previewRows: hold.preview.rows, previewSha256: 'e'.repeat(64) }),
  };
  if (purpose === 'do_action') return { purpose, ...statement } as unknown as ProofContent;
  const reasonHash = textHash(hold.grant?.reason ?? '');
  return { purpose, ...statement, requester: hold.requester, reasonHash } as unknown as ProofContent;
}

/** What a signature makes of a hold. */
export function signHold(world: World, id: string, purpose: 'do_action' | 'approve_action', by: Person): HoldView {
  const hold = holdOf(world, id);
  const mine = purpose === 'do_action';
  const cures = hold.cures.map((cure) =>
    (mine ? cure.kind === 'proof' || cure.kind === 'preview' : cure.kind === 'approval')
      ? { ...cure, done: true }
      : cure,
  );
  const signature = {
    by: refOf(by),
    kind: mine ? ('proof' as const) : ('approval' as const),
    at: at(),
    rowsAtMost: null,
    validSeconds: null,
  };
  const next: StoredHold = {
    ...hold,
    cures,
    signatures: [...hold.signatures, signature],
    state: cures.every(({ done }) => done) ? 'cured' : 'waiting',
  };
  world.holds.set(id, next);
  record(world, mine ? 'hold.proven' : 'hold.approved', `${by.handle} signed`, by, { hold: id });
  return viewHold(next, by);
}

export function holdHandlers(
  world: World,
): Pick<
  Handlers,
  'listHolds' | 'getHold' | 'denyHold' | 'withdrawHold' | 'giveReason' | 'getDenial' | 'listCovers' | 'endCover'
> {
  const settle = (id: string, state: 'denied' | 'withdrawn', by: Person, word: string | null) => {
    const hold = holdOf(world, id);
    if (!isLive(hold)) throw new Refusal('already_decided', 'settle a hold: it is settled');
    const next: StoredHold = { ...hold, state, settled: { at: at(), by: refOf(by), word } };
    world.holds.set(id, next);
    return viewHold(next, by);
  };
  return {
    listHolds: ({ query }, call) =>
      call.page(
        [...world.holds.values()]
          .toReversed()
          .map((hold) => viewHold(hold, call.person))
          .filter(({ you }) =>
            query.box === 'mine' ? you.isRequester : query.box === 'all' || you.canApprove || you.canProve,
          )
          .filter(
            (hold) => query.state === undefined || (query.state === 'live' ? isLive(hold) : hold.state === query.state),
          ),
        query,
      ),
    getHold: ({ params }, call) => viewHold(holdOf(world, params.id), call.person),
    denyHold: ({ params, body }, call) => settle(params.id, 'denied', call.person, body.word),
    withdrawHold: ({ params }, call) => settle(params.id, 'withdrawn', call.person, null),
    giveReason: ({ params, body }, call) => {
      const hold = holdOf(world, params.id);
      const cures = hold.cures.map((cure) => (cure.kind === 'reason' ? { ...cure, done: true } : cure));
      const next: StoredHold = { ...hold, reason: body.reason, cures };
      world.holds.set(hold.id, next);
      return viewHold(next, call.person);
    },
    listCovers: () => ({ items: [] }),
    getDenial: () => {
      throw missing();
    },
    endCover: () => {
      throw missing();
    },
  };
}
