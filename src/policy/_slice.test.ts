import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoleName } from '#core/ids.ts';
import type { Need } from '#sql/needs.ts';
import { configuration, engineWith, now, openCedar, person, role } from '#test/support/policy.ts';
import { actionGroups, pgActions } from './_slice.ts';
import { schema } from './schema.ts';

test('actions and their groups are those of the schema', async () => {
  const cedar = await openCedar();
  const parsed = cedar.attempt((instance) => instance.schemaToJson(schema));
  assert.ok(parsed.kind === 'done' && parsed.value.type === 'success');
  const actions = Object.entries(parsed.value.json['PG']?.actions ?? {});
  assert.deepEqual(
    actions
      .filter(([, of]) => (of.appliesTo?.resourceTypes.length ?? 0) > 0)
      .map(([name]) => name)
      .toSorted(),
    pgActions.toSorted(),
  );
  for (const [group, members] of Object.entries(actionGroups))
    assert.deepEqual(
      actions
        .filter(([, of]) => of.memberOf?.some(({ id }) => id === group))
        .map(([name]) => name)
        .toSorted(),
      members.toSorted(),
      group,
    );
  assert.deepEqual(
    actions
      .filter(([, of]) => (of.appliesTo?.resourceTypes.length ?? 0) === 0)
      .map(([name]) => name)
      .toSorted(),
    Object.keys(actionGroups).toSorted(),
  );
});

const scopes = {
  principal: [
    'principal',
    'principal is User',
    'principal in Role::"orders/a"',
    'principal is User in Role::"orders/b"',
    'principal in Group::"g"',
    'principal == User::"usr_1"',
  ],
  action: [
    'action',
    'action == PG::Action::"select"',
    'action in PG::Action::"writing"',
    'action in [PG::Action::"reading", PG::Action::"truncate"]',
    'action in [PG::Action::"destructive"]',
  ],
  resource: [
    'resource',
    'resource is PG::Table',
    'resource in Resource::"orders"',
    'resource == PG::Table::"orders/public.t"',
    'resource is PG::Table in Resource::"stock"',
    'resource == PG::Database::"orders"',
    'resource in Resource::"stock"',
  ],
};

test('what is left out could not have had a say: the slice answers as the whole set does', async () => {
  const cedar = await openCedar();
  const roles = ['orders/a', 'orders/b', 'stock/a'].map((name) => role(name));
  const principal = person('ada', ['g']);
  const needs: readonly Need[] = [
    ...pgActions.map((action): Need => ({
      action,
      object: { kind: 'table', schema: 'public', name: 't' },
      columns: [],
    })),
    ...pgActions.map((action): Need => ({ action, object: { kind: 'database' }, columns: [] })),
  ];
  const written: Record<string, string> = {};
  for (const [i, who] of scopes.principal.entries())
    for (const [j, what] of scopes.action.entries())
      for (const [k, on] of scopes.resource.entries()) written[`p${i}-${j}-${k}`] = `permit (${who}, ${what}, ${on});`;
  // Those that the schema finds impossible are faults or warnings elsewhere; here they only must not matter.
  const sound = Object.entries(written).filter(([, text]) => {
    const checked = cedar.attempt((instance) =>
      instance.validate({ schema, policies: { staticPolicies: { x: text } } }),
    );
    return checked.kind === 'done' && checked.value.type === 'success' && checked.value.validationErrors.length === 0;
  });
  assert.ok(sound.length > 100, `${sound.length}`);
  const file = sound.map(([id, text]) => `@id("${id}") ${text}`).join('\n');
  const engine = await engineWith(configuration(roles, { 'x.cedar': file }), []);
  let allowed = 0;
  for (const { name, resource } of roles)
    for (const need of needs) {
      const uid =
        need.object.kind === 'table'
          ? { type: 'PG::Table', id: `${resource}/public.t` }
          : { type: 'PG::Database', id: resource as string };
      const whole = cedar.attempt((instance) =>
        instance.isAuthorized({
          principal: { type: 'User', id: principal.id },
          action: { type: 'PG::Action', id: need.action },
          resource: uid,
          context: {},
          policies: { staticPolicies: Object.fromEntries(sound) },
          entities: [
            {
              uid: { type: 'User', id: principal.id },
              attrs: {},
              parents: [
                { type: 'Role', id: name },
                { type: 'Group', id: 'g' },
              ],
            },
            { uid, attrs: {}, parents: [{ type: 'Resource', id: resource }] },
            ...pgActions.map((action) => ({
              uid: { type: 'PG::Action', id: action as string },
              attrs: {},
              parents: Object.entries(actionGroups)
                .filter(([, members]) => members.includes(action))
                .map(([id]) => ({ type: 'PG::Action', id })),
            })),
          ],
        }),
      );
      assert.ok(whole.kind === 'done' && whole.value.type === 'success');
      const answer = engine.decide({
        now,
        action: 'statement',
        principal,
        role: name as RoleName,
        needs: [need],
        context: { statementClass: 'read', hasWhere: false, statementCount: 1, functions: [] },
      });
      // Some pairs the schema doesn't know, such as `select` on the database; those are denied without asking.
      if (answer.kind === 'deny' && answer.because.startsWith('the question')) continue;
      assert.deepEqual(
        answer.policies,
        whole.value.response.diagnostics.reason.toSorted(),
        `${need.action} on ${uid.id}`,
      );
      if (answer.kind === 'allow') allowed += 1;
    }
  assert.ok(allowed > 20, `${allowed}`);
});
