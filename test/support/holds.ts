/** Held statements for tests: policies that hold, a session under them, and a statement that is asked about. */
import { createHash } from 'node:crypto';
import type { Change } from '#app/changes.ts';
import { holdStatement, type HoldStatementAnswer } from '#app/hold-statement.ts';
import { decideStatement, type StatementDecision } from '#app/decide-statement.ts';
import { loadConfiguration } from '#app/load-configuration.ts';
import { makePlan } from '#app/make-plan.ts';
import { writeEntry } from '#app/write-entry.ts';
import { newId, type GrantId, type HoldId, type RoleName, type SessionId } from '#core/ids.ts';
import { after, minutes } from '#core/instant.ts';
import { json, transaction } from '#store/database.ts';
import type { Need } from '#sql/needs.ts';
import { active, fixOrders, session } from './access.ts';
import { exampleConfiguration, valueOf, type TestApp, type TestPerson } from './app.ts';

/** Puts the example in force with this policy text in place of its own. */
export async function withPolicies(app: TestApp, root: TestPerson, text: string): Promise<void> {
  const example = exampleConfiguration();
  const planned = valueOf(
    await makePlan(app.ctx, await app.caller(root), {
      file: example.file,
      text: example.text,
      policies: [{ name: 'policies/orders.cedar', text }],
    }),
  );
  if (planned.kind !== 'planned') throw new Error(`plan: ${JSON.stringify(planned)}`);
  await app.prove(root, { purpose: 'change_configuration', plan: planned.plan });
  const loaded = await loadConfiguration(app.ctx);
  if (loaded.kind === 'faults') throw new Error(`load: ${JSON.stringify(loaded)}`);
}

/** Every update of the orders asks for this. */
export const updateAsks = (cure: string, lifted: string, id = 'updates-ask'): string => `
@id("${id}") @cure("${cure}")
forbid (principal, action == PG::Action::"update", resource == PG::Table::"orders/public.orders")
unless { ${lifted} };
`;
export const proofAsked = updateAsks('proof', 'context.proof.covers_action');
export const approvalAsked = (cure: string) => updateAsks(cure, 'context.approval.covers_action', 'updates-approved');

export type House = {
  readonly root: TestPerson;
  readonly ada: TestPerson;
  readonly bob: TestPerson;
  readonly cas: TestPerson;
  readonly grant: GrantId;
  readonly session: SessionId;
};

/** Ada in a session that may fix orders, under these policies; bob and cas are in the dba group. */
export async function house(app: TestApp, policies: string): Promise<House> {
  const root = await app.person('root', ['administrators']);
  const ada = await app.person('ada', ['engineering'], 'synced');
  const bob = await app.person('bob', ['dba'], 'synced');
  const cas = await app.person('cas', ['dba'], 'synced');
  await withPolicies(app, root, policies);
  const grant = await active(app, ada, bob, fixOrders);
  return { root, ada, bob, cas, grant, session: (await session(app, ada, grant)).id };
}

const update: Need = {
  action: 'update',
  object: { kind: 'table', schema: 'public', name: 'orders' },
  columns: ['status'],
} as Need;

export const statement = "update orders set status = 'paid'";
export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

export function asked(of: SessionId, text = statement) {
  return {
    session: of,
    needs: [update],
    context: { statementClass: 'write', hasWhere: false, statementCount: 1, functions: [] },
    digest: digestOf(text),
  };
}

export async function hold(app: TestApp, of: SessionId, text = statement): Promise<HoldStatementAnswer> {
  return await holdStatement(app.ctx, {
    ...asked(of, text),
    text,
    parameters: [],
    inTransaction: false,
    maxSeconds: 300,
  });
}

export async function held(app: TestApp, of: SessionId, text = statement): Promise<HoldId> {
  const answer = await hold(app, of, text);
  if (answer.kind !== 'held') throw new Error(`not held: ${answer.message}`);
  return answer.hold;
}

export async function run(app: TestApp, of: SessionId, on?: HoldId, text = statement): Promise<StatementDecision> {
  return await decideStatement(app.ctx, { ...asked(of, text), hold: on });
}

/** The first change of that kind, as it arrives from now on. */
export async function heard(app: TestApp, is: (change: Change) => boolean): Promise<Change> {
  return await new Promise((resolve) => {
    const subscription = app.ctx.changes.subscribe((change) => {
      if (!is(change)) return;
      subscription[Symbol.dispose]();
      resolve(change);
    });
  });
}

export async function stateOf(app: TestApp, id: HoldId): Promise<string> {
  return (await app.ctx.db.selectFrom('hold').select('state').where('id', '=', id).executeTakeFirstOrThrow()).state;
}

/** A hold that nobody asked for: two of the dba group are to approve it, and a reason is to be given. */
export async function holdRow(
  app: Pick<TestApp, 'ctx'>,
  ada: TestPerson,
  grant: GrantId,
  session: SessionId,
): Promise<HoldId> {
  const { ctx } = app;
  const now = ctx.clock.now();
  const id = newId('hold', { now, random: ctx.random });
  await transaction(ctx.db, async (trx) => {
    const entry = await writeEntry(ctx, trx, {
      kind: 'hold.opened',
      actor: ada.principal.id,
      subjects: { hold: id, session, grant, principal: ada.principal.id },
    });
    await trx
      .insertInto('hold')
      .values({
        id,
        subject: 'statement',
        state: 'waiting',
        requester: ada.principal.id,
        access_grant: grant,
        session,
        role: 'orders/support-read' as RoleName,
        client_address: '127.0.0.1',
        digest: '0'.repeat(64),
        held: {
          kind: 'statement',
          text: 'update orders set status = null',
          parameters: [],
          needs: ['update on public.orders (status)'],
          tables: ['public.orders'],
          functions: [],
          covered: [],
          covers: [],
          question: {},
          inTransaction: false,
        },
        demands: json([
          { policy: 'ask', cure: { kind: 'approval', by: [{ group: 'dba' }], count: 2 } },
          { policy: 'why', cure: { kind: 'reason' } },
        ] as const),
        asked_by: ['ask', 'why'],
        policy_version: ctx.policy.version,
        preview: null,
        reason: null,
        opened_at: now,
        expires_at: after(now, minutes(5)),
        settled_at: null,
        settled_by: null,
        word: null,
        entry,
      })
      .execute();
  });
  return id;
}
