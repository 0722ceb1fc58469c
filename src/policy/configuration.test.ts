import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { hours, minutes } from '#core/instant.ts';
import { exampleConfiguration, exampleOn, openPolicyEngine, shippedPolicies } from '#test/support/policy.ts';
import { canonicalConfiguration } from './canonical-configuration.ts';
import { parseConfiguration, parseServerSettings, policyPatternsOf } from './configuration.ts';
import type { PolicyFile } from './engine.ts';
import { planChanges } from './plan-changes.ts';
import { sampleConfigurationText } from './sample-configuration.ts';

let engine: Awaited<ReturnType<typeof openPolicyEngine>>;
before(async () => {
  engine = await openPolicyEngine();
});

const parse = (text: string, policies: readonly PolicyFile[] = []) =>
  parseConfiguration({ file: 'sallyport.yaml', text, policies, shipped: shippedPolicies(), engine });

/** `line:column message`, one for each fault, or the outcome when there is none. */
function faultsOf(text: string, policies: readonly PolicyFile[] = []): readonly string[] {
  const outcome = parse(text, policies);
  if (outcome.kind === 'ok') return ['no fault'];
  return outcome.faults.map(
    (f) => `${f.file === 'sallyport.yaml' ? '' : `${f.file}:`}${f.line}:${f.column} ${f.message}`,
  );
}

const minimal = `version: 1
resources:
  orders:
    kind: postgres
    address: localhost:5432
    database: orders
    admin: { user: admin, password: { env: ADMIN_PASSWORD } }
    roles:
      read:
        max: 1h
        request: [engineering]
        approve: { groups: [dba] }
        tables: { public.orders: { select: all } }
`;
/** `minimal` with one line replaced; the line is found by its key. */
const with_ = (key: string, line: string) => {
  const lines = minimal.split('\n');
  const at = lines.findIndex((one) => one.trimStart().startsWith(`${key}:`));
  const indent = /^ */.exec(lines[at] ?? '')?.[0] ?? '';
  return lines.toSpliced(at, 1, `${indent}${line}`).join('\n');
};

test('the example parses to what it says', () => {
  const example = exampleOn(engine);
  const [orders] = example.resources;
  assert.equal(example.resources.length, 1);
  assert.deepEqual(
    { ...orders, roles: orders?.roles.map(({ name }) => name) },
    {
      name: 'orders',
      kind: 'postgres',
      description: 'Customers, orders and payments of the shop',
      labels: { environment: 'production', team: 'shop' },
      host: '127.0.0.1',
      port: 5433,
      database: 'orders',
      tls: { mode: 'disable' },
      admin: { user: 'sallyport_admin', password: { file: './orders-admin-password' } },
      roles: ['orders/support-read', 'orders/fix-orders', 'orders/maintain-orders'],
    },
  );
  const fix = orders?.roles[1];
  assert.equal(fix?.maxDuration, hours(1));
  assert.deepEqual(fix?.permissions.tables[0], { schema: 'public', name: 'orders', select: 'all', update: 'all' });
  assert.deepEqual(Object.keys(example.policies), ['policies/orders.cedar']);
});

test('what is left out has a default, and the defaults are limits', () => {
  const outcome = parse(minimal);
  assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
  const [orders] = outcome.configuration.resources;
  assert.deepEqual(orders?.tls, { mode: 'verify-full' });
  assert.deepEqual(orders?.admin.password, { env: 'ADMIN_PASSWORD' });
  const [read] = orders?.roles ?? [];
  assert.equal(read?.statementTimeout, minutes(5));
  assert.equal(read?.maxConnections, 5);
  assert.deepEqual(read?.approvers, { groups: ['dba'], count: 1 });
  assert.deepEqual(outcome.server, {});
});

test('the server section is read whole', () => {
  const outcome = parse(`${minimal}server:
  public-url: https://sally.example.com
  console: { listen: '[::]:7700', tls: { cert: a.pem, key: a.key } }
  postgres: { listen: 127.0.0.1:0, public-host: db.example.com, threads: 2 }
  data: ./data
  database-url: { env: SALLY_DATABASE_URL }
  trusted-proxies: [10.0.0.0/8, '::1', fd00::/8]
  log-level: debug
  journal: { strict: true }
  authzen: { access-requests: draft-1 }
`);
  assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
  assert.deepEqual(outcome.server, {
    publicUrl: 'https://sally.example.com',
    console: { listen: { host: '::', port: 7700 }, tls: { cert: 'a.pem', key: 'a.key' } },
    postgres: { listen: { host: '127.0.0.1', port: 0 }, publicHost: 'db.example.com', threads: 2 },
    data: './data',
    databaseUrl: { env: 'SALLY_DATABASE_URL' },
    trustedProxies: ['10.0.0.0/8', '::1', 'fd00::/8'],
    logLevel: 'debug',
    strictJournal: true,
    accessRequests: 'draft-1',
  });
});

test('every fault is found at once, each in its place', () => {
  const text = `version: 2
polices: x
resources:
  Orders:
    kind: mysql
    address: db.example.com
    database: 5
    tls: { mode: disable }
    admin: { user: admin, password: hunter2 }
    rols: {}
    roles:
      read:
        max: 2w
        request: []
        approve: { groups: [DBA], count: 0 }
        tables:
          orders: { select: all }
          public.orders: { select: [], delete: false }
          public.*: { select: all }
          public.Orders: { selct: all }
        functions: [order_total]
        channels:
          Jobs: { listen: true }
          jobs: {}
          '"jobs"': { notify: false }
          '**': { listn: true }
          '*': { listen: true, notify: true }
`;
  assert.deepEqual(faultsOf(text), [
    '1:10 `version` must be a whole number from 1 to 1',
    '2:1 the configuration has no key `polices`',
    '4:3 `Orders` is not a name for a resource',
    '5:11 `mysql` is not a kind of resource',
    '6:14 `db.example.com` is not an address',
    '7:15 `database` must be text',
    '9:37 `password` is not written here',
    '10:5 resource `Orders` has no key `rols`',
    '13:14 `2w` is not a duration',
    '14:18 `request` is empty: nobody could ask for the role',
    '15:29 `DBA` is not a name for a group',
    '15:42 `count` must be a whole number from 1 to 5',
    '17:11 `orders` is not `schema.name`',
    '18:36 `select` names no column',
    '18:48 `delete: false` says nothing',
    '19:11 `public.*` is not `schema.name`',
    '20:11 `public.Orders` is not `schema.name`',
    '20:28 table `public.Orders` has no key `selct`',
    '21:21 `order_total` is not `schema.name`',
    '23:11 `Jobs` is not a channel',
    '24:11 channel `jobs` has no permission',
    '25:11 `"jobs"` is not a channel',
    '25:31 `notify: false` says nothing',
    '26:11 `**` is not a channel',
    '26:19 channel `**` has no key `listn`',
  ]);
});

test('help says what was meant', () => {
  const outcome = parse(minimal.replace('database: orders', 'databse: orders'));
  assert.ok(outcome.kind === 'faults');
  assert.deepEqual(
    outcome.faults.map(({ message, help }) => [message, help]),
    [
      ['resource `orders` needs `database`', undefined],
      ['resource `orders` has no key `databse`', 'did you mean `database`?'],
    ],
  );
});

for (const [name, text, expected] of [
  ['an empty file', '', '1:1 the file is empty'],
  ['no YAML', 'a: [', '1:5 '],
  ['two documents', `${minimal}---\na: 1\n`, 'document'],
  ['a key twice', `${minimal}version: 1\n`, 'unique'],
  ['an alias', minimal.replace('[dba]', '&x [dba]').replace('[engineering]', '*x'), ''],
  ['a tag', with_('database', 'database: !secret orders'), 'tag'],
  ['brackets nested by the thousand', `version: ${'['.repeat(20_000)}`, ''],
  ['a bomb of merges', 'a: &a [x,x]\nb: [*a,*a]\n', 'alias'],
  ['a tabulator and a bell', with_('database', 'database: "a\\u0007"'), 'control character'],
  ['a longer role than a day', with_('max', 'max: 25h'), '`max` is at most 1d'],
  ['an unlimited role', with_('max', 'max: forever'), '`forever` is not a duration'],
  ['no limit', minimal.replace('        max: 1h\n', ''), 'role `read` needs `max`'],
  ['no approvers', with_('approve', 'approve: { groups: [] }'), '`groups` is empty: nobody could approve it'],
  ['no approval', minimal.replace('        approve: { groups: [dba] }\n', ''), 'role `read` needs `approve`'],
  ['more approvers than a meeting', with_('approve', 'approve: { groups: [dba], count: 6 }'), 'from 1 to 5'],
  ['a role that gives nothing', minimal.replace(/ +tables.*\n/, ''), 'role `read` gives nothing'],
  ['a predefined role to run as', with_('max', 'max: 1h\n        set-role: pg_read_all_data'), 'is a predefined role'],
  ['a role of ours to run as', with_('max', 'max: 1h\n        set-role: sally_r_x'), 'is a name that Sallyport makes'],
  ['no role to run as', with_('max', "max: 1h\n        set-role: 'none'"), 'is not the name of a database role'],
  ['a long role to run as', with_('max', `max: 1h\n        set-role: ${'ä'.repeat(32)}`), 'too long for PostgreSQL'],
  ['several roles to run as', with_('max', 'max: 1h\n        set-role: [a, b]'), '`set-role` must be text'],
  ['a group twice', with_('request', 'request: [a1, a1]'), '`a1` is there twice'],
  [
    'plain text to a distant server',
    with_('address', 'address: db.example.com:5432\n    tls: { mode: disable }'),
    "tls can't be disabled",
  ],
  [
    'half a certificate',
    with_('address', 'address: db.example.com:5432\n    tls: { mode: verify-full, cert: a.pem }'),
    'needs both `cert` and `key`',
  ],
  [
    'a key written into it',
    with_('address', 'address: db.example.com:5432\n    tls: { mode: verify-full, cert: a.pem, key: abc }'),
    '`key` is not written here',
  ],
  ['an unknown authentication', with_('database', 'database: orders\n    authentication: ident'), 'is not a way'],
  [
    'a cleartext password on a cleartext socket',
    with_('database', 'database: orders\n    authentication: password\n    tls: { mode: disable }'),
    '`password` needs tls',
  ],
  [
    'a certificate that is not there',
    with_('database', 'database: orders\n    authentication: cert'),
    '`cert` needs a certificate of ours',
  ],
  ['no password', with_('admin', 'admin: { user: admin }'), '`admin` has no `password`'],
  ['a system column', with_('tables', 'tables: { public.orders: { select: [ctid] } }'), 'system column'],
  ['a column that is a number', with_('tables', 'tables: { public.orders: { select: [1] } }'), 'must be text'],
  ['a column by itself', with_('tables', 'tables: { public.orders: { select: id } }'), 'or a list of columns'],
  ['a table without a permission', with_('tables', 'tables: { public.orders: {} }'), 'has no permission'],
  ['a port beyond the last', with_('address', 'address: localhost:65536'), 'is not an address'],
  [
    'a password in two places',
    with_('admin', 'admin: { user: a1, password: { file: a, env: B } }'),
    'one of `file` and `env`',
  ],
  ['a policy outside its folder', `${minimal}policies: ../x/*.cedar\n`, 'is not a place for policies'],
  ['a policy that is no policy', `${minimal}policies: [passwords.txt]\n`, 'does not end in'],
  ['an address as its public URL', `${minimal}server: { public-url: 'http://1.2.3.4' }\n`, 'passkeys need a name'],
  ['a public URL without TLS', `${minimal}server: { public-url: 'http://sally.example.com' }\n`, 'must begin with'],
  ['a server name that is none', with_('admin', 'tls: { mode: verify-full, server-name: "a b" }'), 'not a host name'],
  [
    'a network that is none',
    `${minimal}server: { trusted-proxies: [10.0.0.0/33] }\n`,
    'neither an address nor a network',
  ],
] as const) {
  test(`INVARIANT 1: closed by default: a configuration with ${name} is refused`, () => {
    const faults = faultsOf(text);
    assert.ok(faults.every((fault) => fault !== 'no fault'));
    assert.ok(
      faults.some((fault) => fault.includes(expected)),
      faults.join('\n'),
    );
  });
}

test('a property of every object is a name like any other', () => {
  const outcome = parse(with_('database', 'database: orders\n    labels: { constructor: a, __proto__: b }'));
  // `__proto__` is no name for a label, and nothing worse.
  assert.ok(outcome.kind === 'faults' && outcome.faults.length === 1, JSON.stringify(outcome));
  assert.equal(parse(minimal.replaceAll('orders', 'constructor')).kind, 'ok');
  assert.deepEqual(faultsOf(`${minimal}toString: 1\n`), ['14:1 the configuration has no key `toString`']);
});

const policy = (text: string) => [{ name: 'policies/x.cedar', text }];
for (const [name, text, expected] of [
  [
    'a missing semicolon',
    '\n@id("x") permit (principal, action, resource)',
    'policies/x.cedar:2:46 unexpected end of input',
  ],
  ['no id', '// é\n\n  permit (principal, action, resource);', 'policies/x.cedar:3:3 the policy has no id'],
  [
    'an id twice',
    '@id("x") permit (principal, action, resource);\n@id("x") forbid (principal, action, resource);',
    'policies/x.cedar:2:1 a second policy has the id `x`',
  ],
  [
    'a shipped id',
    '@id("default:request-role") permit (principal, action, resource);',
    'policies/x.cedar:1:1 the id `default:request-role` is reserved',
  ],
  [
    'a generated id',
    '@id("role:orders/read:select:public.orders") permit (principal, action, resource);',
    'policies/x.cedar:1:1 the id `role:orders/read:select:public.orders` is reserved',
  ],
  [
    'an attribute that is not there',
    '@id("x") permit (principal, action == PG::Action::"select", resource)\nwhen { resource.nme == "é" };',
    'policies/x.cedar:2:8 attribute `nme` on entity type `PG::Table` not found',
  ],
  [
    'an action that is not there',
    '@id("x") permit (principal, action == PG::Action::"selec", resource);',
    'policies/x.cedar:1:39 unrecognized action `PG::Action::"selec"`',
  ],
  [
    'a role that is not there',
    '@id("x") forbid (principal in Role::"orders/raed", action, resource);',
    'policies/x.cedar:1:37 there is no role `orders/raed`',
  ],
  [
    'a table in another spelling',
    '@id("x") forbid (principal, action, resource == PG::Table::"orders/public.Orders");',
    'policies/x.cedar:1:60 `orders/public.Orders` names no table of a resource',
  ],
  [
    'a table of no resource',
    '@id("x") forbid (principal, action, resource) when { resource == PG::Table::"stock/public.orders" };',
    'policies/x.cedar:1:77 `stock/public.orders` names no table of a resource',
  ],
  [
    'a cure on a permit',
    '@id("x") @cure("proof") permit (principal, action, resource);',
    'policies/x.cedar:1:17 only a `forbid` can have a cure',
  ],
  [
    'a cure that is none',
    '@id("x") @cure("magic") forbid (principal, action, resource);',
    'policies/x.cedar:1:17 `magic` is not a cure',
  ],
  [
    'a cure by nobody',
    '@id("x") @cure("approval by dba count 0") forbid (principal, action, resource);',
    'policies/x.cedar:1:39 `0` is not a number of people',
  ],
  ['a template', '@id("x") permit (principal == ?principal, action, resource);', 'policies/x.cedar:1:'],
  [
    'brackets without end',
    `@id("x") permit (principal, action, resource) when { ${'('.repeat(500)}`,
    'policies/x.cedar:1:',
  ],
] as const) {
  test(`a policy with ${name} is refused in its place`, () => {
    const faults = faultsOf(minimal, policy(text));
    assert.ok(
      faults.some((fault) => fault.startsWith(expected)),
      faults.join('\n'),
    );
  });
}

test('a policy that can never apply is a warning', () => {
  const outcome = parse(minimal, policy('@id("x") permit (principal, action, resource) when { false };'));
  assert.ok(outcome.kind === 'ok');
  assert.match(outcome.warnings[0]?.message ?? '', /policy is impossible/);
});

test('which policy files to read is known before anything else', () => {
  assert.deepEqual(policyPatternsOf(minimal), ['policies/*.cedar']);
  assert.deepEqual(policyPatternsOf(`${minimal}policies: a/b.cedar\n`), ['a/b.cedar']);
  assert.deepEqual(policyPatternsOf(`${minimal}policies: [a.cedar, b/*.cedar]\n`), ['a.cedar', 'b/*.cedar']);
  assert.deepEqual(policyPatternsOf(`${minimal}policies: []\n`), []);
  assert.deepEqual(policyPatternsOf('][ not yaml'), ['policies/*.cedar']);
});

test('the server section alone is read without looking at the rest', () => {
  const text = 'server: { data: ./x }\nresources: nonsense\n';
  assert.deepEqual(parseServerSettings({ file: 'x', text }), { kind: 'ok', server: { data: './x' } });
  assert.equal(parseServerSettings({ file: 'x', text: 'server: { dta: ./x }\n' }).kind, 'faults');
});

test('the canonical form does not depend on order, and on everything else', () => {
  const example = exampleOn(engine);
  const shuffled = {
    policies: example.policies,
    resources: example.resources.map((resource) => ({
      ...resource,
      roles: resource.roles.toReversed().map((role) => ({
        ...role,
        permissions: {
          ...role.permissions,
          functions: role.permissions.functions.toReversed(),
          ...(role.permissions.channels && { channels: role.permissions.channels.toReversed() }),
          tables: role.permissions.tables.toReversed().map((table) => ({
            ...table,
            ...(Array.isArray(table.select) ? { select: (table.select as readonly string[]).toReversed() } : {}),
          })),
        },
      })),
    })),
  };
  assert.equal(canonicalConfiguration(shuffled), canonicalConfiguration(example));
  assert.deepEqual(planChanges(example, shuffled), { added: [], changed: [], removed: [] });
  const other = { ...example, policies: {} };
  assert.notEqual(canonicalConfiguration(other), canonicalConfiguration(example));
});

test('a plan says what is added, changed and removed', () => {
  const example = exampleOn(engine);
  const first = planChanges(undefined, example);
  assert.deepEqual(
    first.added.map(({ what, name }) => `${what} ${name}`),
    [
      'resource orders',
      'role orders/support-read',
      'role orders/fix-orders',
      'role orders/maintain-orders',
      'policy policies/orders.cedar',
    ],
  );
  assert.ok(first.added[1]?.details.includes('select on public.customers: city, country, created_at, id, name'));
  const files = exampleConfiguration();
  const text = files.text
    .replace('max: 4h', 'max: 2h')
    .replace('[id, name, city, country, created_at]', '[id, name, email]')
    .replace('{ select: all, update: all }', '{ select: all, delete: true }')
    .replace('order_events: { listen: true }', 'order_events: { notify: true }')
    .replace('  fix-orders:', '  repair-orders:')
    .replace('team: shop', 'team: store');
  const outcome = parse(text, [{ name: 'policies/new.cedar', text: '// nothing yet' }]);
  assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
  const { added, changed, removed } = planChanges(example, outcome.configuration);
  const names = (list: typeof added) => list.map(({ what, name }) => `${what} ${name}`);
  assert.deepEqual(names(added), ['role orders/repair-orders', 'policy policies/new.cedar']);
  assert.deepEqual(names(removed), ['role orders/fix-orders', 'policy policies/orders.cedar']);
  assert.deepEqual(changed, [
    { what: 'resource', name: 'orders', details: ['~ label team: shop → store'] },
    {
      what: 'role',
      name: 'orders/support-read',
      details: [
        '~ max: 4h → 2h',
        '~ select on public.customers: city, country, created_at, id, name → email, id, name',
        '+ notify on channel order_events',
        '- listen on channel order_events',
      ],
    },
  ]);
});

test('whom sessions run as is read, counts, and is said in the plan', () => {
  const read = (text: string) => {
    const outcome = parse(text);
    assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
    return outcome.configuration;
  };
  const none = read(minimal);
  const one = read(with_('max', 'max: 1h\n        set-role: orders_owner'));
  assert.equal(one.resources[0]?.roles[0]?.permissions.setRole, 'orders_owner');
  assert.notEqual(canonicalConfiguration(none), canonicalConfiguration(one));
  assert.deepEqual(
    planChanges(none, one).changed.map(({ details }) => details),
    [['+ acts as orders_owner: may change and drop its tables']],
  );
  assert.deepEqual(
    planChanges(one, none).changed.map(({ details }) => details),
    [['- acts as orders_owner: may change and drop its tables']],
  );
});

test('how a target is reached and authenticated is read, and said in the plan', () => {
  const outcome = parse(
    with_(
      'address',
      [
        'address: db.example.com:5432',
        '    authentication: cert',
        '    tls: { mode: verify-full, ca: ca.pem, direct: true, cert: sally.pem, key: { file: sally.key } }',
      ].join('\n'),
    ).replace(/admin: .*/, 'admin: { user: admin }'),
  );
  assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
  const [orders] = outcome.configuration.resources;
  assert.deepEqual(orders?.tls, {
    mode: 'verify-full',
    ca: 'ca.pem',
    direct: true,
    certificate: { file: 'sally.pem', key: { file: 'sally.key' } },
  });
  assert.equal(orders.authentication, 'cert');
  assert.deepEqual(orders.admin, { user: 'admin' });
  assert.deepEqual(planChanges(undefined, outcome.configuration).added[0]?.details.slice(3, 6), [
    'tls: verify-full, roots in ca.pem, from the first byte, certificate in sally.pem with the key from file sally.key',
    'authentication: at least cert',
    'administrator: admin',
  ]);
});

test("the sample's configuration is the example with the values of this start, whatever is in them", () => {
  const files = exampleConfiguration();
  const values = {
    address: '127.0.0.1:40123',
    passwordFile: '/tmp/with space/# "quotes": {braces}\'s',
    caFile: '/tmp/ca: &x.pem',
  };
  const sample = sampleConfigurationText(values, { yaml: files.text, policies: files.policies });
  const outcome = parse(sample.yaml, sample.policies);
  assert.ok(outcome.kind === 'ok', JSON.stringify(outcome));
  const [orders] = outcome.configuration.resources;
  assert.deepEqual([orders?.host, orders?.port], ['127.0.0.1', 40_123]);
  assert.deepEqual(orders?.tls, { mode: 'verify-full', ca: values.caFile });
  assert.deepEqual(orders?.admin, { user: 'sallyport_admin', password: { file: values.passwordFile } });
  assert.deepEqual(orders?.roles, exampleOn(engine).resources[0]?.roles);
  assert.match(sample.yaml, /# What Sallyport stands in front of/);
});
