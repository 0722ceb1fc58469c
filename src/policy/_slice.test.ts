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
    'resource in PG::Table::"orders/public.t"',
    'resource == PG::Table::"orders/public.u"',
    'resource == PG::Channel::"orders/c"',
    'resource == PG::Function::"orders/public.t"',
    'resource is PG::Table in Resource::"stock"',
    'resource == PG::Database::"orders"',
    'resource in Resource::"stock"',
  ],
};

test('what is left out could not have had a say: the slice answers as the whole set does', async () => {
  const cedar = await openCedar();
  const roles = ['orders/a', 'orders/b', 'stock/a'].map((name) => role(name));
  const principal = person('ada', ['g']);
  const objects = [
    [{ kind: 'table', schema: 'public', name: 't' }, 'PG::Table', 'public.t'],
    [{ kind: 'table', schema: 'public', name: 'u' }, 'PG::Table', 'public.u'],
    [{ kind: 'table', schema: 'public', name: 'v' }, 'PG::Table', 'public.v'],
    [{ kind: 'function', schema: 'public', name: 't' }, 'PG::Function', 'public.t'],
    [{ kind: 'channel', name: 'c' }, 'PG::Channel', 'c'],
    [{ kind: 'database' }, 'PG::Database', undefined],
  ] as const;
  const needs = pgActions.flatMap((action) =>
    objects.map(([object, type, name]) => ({ need: { action, object, columns: [] } satisfies Need, type, name })),
  );
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
  // With few policies for any object each object has a set of its own; with many there is one for all of them.
  const isAboutOne = (text: string) => / == PG::(?:Table|Channel|Function)::/.test(text);
  const few = sound.filter(([, text], i) => isAboutOne(text) || i % 10 === 0);
  assert.ok(few.length > 60 && few.filter(([, text]) => !isAboutOne(text)).length < 30);
  for (const policies of [sound, few]) {
    const file = policies.map(([id, text]) => `@id("${id}") ${text}`).join('\n');
    const engine = await engineWith(configuration(roles, { 'x.cedar': file }), []);
    let allowed = 0;
    for (const { role, need, uid } of roles.flatMap((role) =>
      needs.map(({ need, type, name }) => ({
        role,
        need,
        uid: { type, id: name === undefined ? (role.resource as string) : `${role.resource}/${name}` },
      })),
    )) {
      const { name, resource } = role;
      const whole = cedar.attempt((instance) =>
        instance.isAuthorized({
          principal: { type: 'User', id: principal.id },
          action: { type: 'PG::Action', id: need.action },
          resource: uid,
          context: {},
          policies: { staticPolicies: Object.fromEntries(policies) },
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
  }
});
