/** Who may do what on the example, as one table to read in review. `test/golden/policy-matrix.txt` is the table. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { GrantId, RequestId, RoleName, SessionId } from '#core/ids.ts';
import { hours, minutes } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { Need } from '#sql/needs.ts';
import { exampleEngine, idOf, now, person } from '#test/support/policy.ts';
import type { Administered, Question } from './question.ts';

const golden = new URL('../../test/golden/policy-matrix.txt', import.meta.url);

const ada = person('ada', ['engineering']);
const columns: readonly (readonly [name: string, principal: Principal])[] = [
  ['stranger', person('carl')],
  ['engineer', ada],
  ['approver', person('bob', ['dba'])],
  ['both', person('eve', ['engineering', 'dba'])],
  ['auditor', person('audra', ['auditors'])],
  ['admin', person('root', ['administrators'])],
  ['all groups', person('dede', ['engineering', 'dba', 'auditors', 'administrators'])],
  ['service', person('builder', ['engineering'], { kind: 'service' })],
  ['agent', person('robot', ['engineering', 'dba', 'administrators'], { kind: 'agent' })],
  ['invited', person('ivo', ['engineering', 'dba', 'administrators'], { state: 'invited' })],
  ['suspended', person('gone', ['engineering', 'dba', 'administrators'], { state: 'suspended' })],
];

const support = 'orders/support-read' as RoleName;
const fix = 'orders/fix-orders' as RoleName;
const maintain = 'orders/maintain-orders' as RoleName;
const gone = 'orders/no-longer-there' as RoleName;
const grant = (owner: Principal, role: RoleName) => ({ id: idOf<GrantId>('grt', 'g'), principal: owner.id, role });
const request = (requester: Principal, actsFor: readonly Principal[] = []) => ({
  id: idOf<RequestId>('req', 'r'),
  requester: requester.id,
  actsFor: actsFor.map(({ id }) => id),
  role: support,
  duration: hours(1),
});
const client = { address: '127.0.0.1', tls: true };
const session = (owner: Principal) => ({ id: idOf<SessionId>('ses', 's'), principal: owner.id, role: support });
const table = (action: Need['action'], name: string, ...of: string[]): Need => {
  const [schema = '', bare = ''] = name.split('.');
  return { action, object: { kind: 'table', schema, name: bare }, columns: of };
};
const call = (name: string): Need => ({
  action: 'call',
  object: { kind: 'function', schema: 'public', name },
  columns: [],
});
const database = (action: Need['action']): Need => ({ action, object: { kind: 'database' }, columns: [] });

const channel = (action: 'listen' | 'notify', name: string): Need => ({
  action,
  object: { kind: 'channel', name },
  columns: [],
});

const administered: readonly Administered[] = ['principals', 'configuration', 'grants', 'sessions', 'authenticators'];
const needs: readonly (readonly [string, readonly Need[], boolean?])[] = [
  ['nothing (begin)', []],
  ['select orders', [table('select', 'public.orders', 'id')]],
  ['select orders, whole rows', [table('select', 'public.orders', 'ctid', 'id')]],
  ['select customers(id, name)', [table('select', 'public.customers', 'id', 'name')]],
  ['select customers(email)', [table('select', 'public.customers', 'email')]],
  ['select count(*) of customers', [table('select', 'public.customers')]],
  ['select a table not listed', [table('select', 'public.staff', 'id')]],
  [
    'orders joined to customers(email)',
    [table('select', 'public.orders', 'id'), table('select', 'public.customers', 'email')],
  ],
  ['update orders where', [table('update', 'public.orders', 'status')], true],
  ['update orders, all rows', [table('update', 'public.orders', 'status')], false],
  ['insert orders', [table('insert', 'public.orders', 'id')]],
  ['delete orders where', [table('delete', 'public.orders')], true],
  ['truncate orders', [table('truncate', 'public.orders')]],
  ['call order_total', [call('order_total')]],
  ['call refund', [call('refund')]],
  ['listen to order_events', [channel('listen', 'order_events')]],
  ['listen to another channel', [channel('listen', 'payroll')]],
  ['notify order_events', [channel('notify', 'order_events')]],
  ['notify a channel unknown before', [{ action: 'notify', object: { kind: 'any channel' }, columns: [] }]],
  ['ddl', [database('ddl')]],
  ['copy program', [database('copy')]],
  ['other', [database('other')]],
  ['select pg_class', [table('select', 'pg_catalog.pg_class', 'oid')]],
  ['select pg_authid', [table('select', 'pg_catalog.pg_authid', 'rolname')]],
  ['select pg_stat_activity', [table('select', 'pg_catalog.pg_stat_activity', 'query')]],
  ['select information_schema.tables', [table('select', 'information_schema.tables', 'table_name')]],
  ['update pg_class', [table('update', 'pg_catalog.pg_class', 'relname')], true],
];

/** A question without the principal, who is put in for each column; `self` is that principal. */
type Row = readonly [name: string, ask: (self: Principal) => Question];
const sections: readonly (readonly [title: string, rows: readonly Row[]])[] = [
  [
    'asking',
    [
      [
        'request support-read for 4h',
        (principal) => ({ now, action: 'request_role', principal, role: support, duration: hours(4) }),
      ],
      [
        'request support-read for 5h',
        (principal) => ({ now, action: 'request_role', principal, role: support, duration: hours(5) }),
      ],
      [
        'request fix-orders for 30m',
        (principal) => ({ now, action: 'request_role', principal, role: fix, duration: minutes(30) }),
      ],
      [
        'request a role not there',
        (principal) => ({ now, action: 'request_role', principal, role: gone, duration: hours(1) }),
      ],
    ],
  ],
  [
    'approving and denying',
    [
      ["approve ada's request", (principal) => ({ now, action: 'approve_request', principal, request: request(ada) })],
      [
        'approve one of their own',
        (principal) => ({ now, action: 'approve_request', principal, request: request(principal) }),
      ],
      [
        'approve one in their name',
        (principal) => ({ now, action: 'approve_request', principal, request: request(ada, [principal]) }),
      ],
    ],
  ],
  [
    'using and ending',
    [
      [
        'activate their own grant',
        (principal) => ({ now, action: 'activate_grant', principal, grant: grant(principal, support) }),
      ],
      [
        "activate ada's grant",
        (principal) => ({ now, action: 'activate_grant', principal, grant: grant(ada, support) }),
      ],
      [
        'connect under their own grant',
        (principal) => ({ now, action: 'connect', principal, grant: grant(principal, support), client }),
      ],
      [
        "connect under ada's grant",
        (principal) => ({ now, action: 'connect', principal, grant: grant(ada, support), client }),
      ],
      [
        'connect, role not there',
        (principal) => ({ now, action: 'connect', principal, grant: grant(principal, gone), client }),
      ],
      [
        'hand back their own grant',
        (principal) => ({ now, action: 'revoke_grant', principal, grant: grant(principal, support) }),
      ],
      ["revoke ada's grant", (principal) => ({ now, action: 'revoke_grant', principal, grant: grant(ada, support) })],
      [
        "revoke ada's, role not there",
        (principal) => ({ now, action: 'revoke_grant', principal, grant: grant(ada, gone) }),
      ],
    ],
  ],
  [
    'administering and reading',
    [
      ...administered.map((what): Row => [
        `administer ${what}`,
        (principal) => ({ now, action: 'administer', principal, what }),
      ]),
      ...(['add', 'remove', 'reset'] as const).flatMap((change): readonly Row[] => [
        [
          `${change} their own passkey`,
          (principal) => ({
            now,
            action: 'manage_authenticators',
            principal,
            of: principal,
            change,
            authenticators: 2,
            administrators: 2,
          }),
        ],
        [
          `${change} a passkey of ada's`,
          (principal) => ({
            now,
            action: 'manage_authenticators',
            principal,
            of: ada,
            change,
            authenticators: 2,
            administrators: 2,
          }),
        ],
      ]),
      ['read their own log', (principal) => ({ now, action: 'read_log', principal, scope: 'own' })],
      ['read the whole log', (principal) => ({ now, action: 'read_log', principal, scope: 'all' })],
      [
        'read their own session',
        (principal) => ({ now, action: 'read_session', principal, session: session(principal) }),
      ],
      ["read ada's session", (principal) => ({ now, action: 'read_session', principal, session: session(ada) })],
    ],
  ],
  ...[support, fix, maintain].map(
    (role) =>
      [
        `in a session under ${role}`,
        needs.map(([name, of, hasWhere = false]): Row => [
          name,
          (principal) => ({
            now,
            action: 'statement',
            principal,
            role,
            needs: of,
            context: { statementClass: 'read', hasWhere, statementCount: 1, functions: [] },
          }),
        ]),
      ] as const,
  ),
];

test('the matrix of who may do what is the one that was reviewed', async () => {
  const engine = await exampleEngine();
  const width = 34;
  const head = `${''.padEnd(width)}${columns.map(([name]) => name.padStart(11)).join('')}`;
  const lines = [
    'Who may do what, on the configuration and policies of examples/orders. "yes" is allow, "cure" is curable, "-" is deny.',
    'Made by src/policy/policy-matrix.test.ts; to accept a change, run it with UPDATE_GOLDEN=1 and read the difference.',
  ];
  for (const [title, rows] of sections) {
    lines.push('', `== ${title}`, head.trimEnd());
    for (const [name, ask] of rows) {
      const cells = columns.map(([, principal]) => {
        const { kind } = engine.decide(ask(principal));
        return { allow: 'yes', curable: 'cure', deny: '-' }[kind].padStart(11);
      });
      lines.push(`${name.padEnd(width)}${cells.join('')}`);
    }
  }
  const matrix = `${lines.join('\n')}\n`;
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(golden, matrix);
  assert.equal(
    matrix,
    readFileSync(golden, 'utf8'),
    'who may do what has changed: if it was meant, run `UPDATE_GOLDEN=1 node --test src/policy/policy-matrix.test.ts` and commit the difference',
  );
});
