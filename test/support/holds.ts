/** Held statements for tests: policies that hold, a session under them, and a statement that is asked about. */
import { createHash } from 'node:crypto';
import type { Change } from '#app/changes.ts';
import { holdStatement, type HoldStatementAnswer } from '#app/hold-statement.ts';
import { decideStatement, type StatementDecision } from '#app/decide-statement.ts';
import { loadConfiguration } from '#app/load-configuration.ts';
import { makePlan } from '#app/make-plan.ts';
import type { GrantId, HoldId, SessionId } from '#core/ids.ts';
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
