/** A gateway in front of a real server for tests, with the working control plane of `_testing-control-plane.ts`. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Client, type ClientConfig } from 'pg';
import type { GrantId, ResourceName, RoleName } from '#core/ids.ts';
import { hours, parseInstant, seconds, type Clock, type Duration, type Instant } from '#core/instant.ts';
import type { Role } from '#core/role.ts';
import { Secret } from '#core/secret.ts';
import { createTestingControlPlane, type TestingControlPlane } from './_testing-control-plane.ts';
import type { TargetAccess } from './control-plane.ts';
import { startGateway, type Gateway, type GatewayOptions } from './gateway.ts';
import type { GatewayEvent } from './records.ts';

/** What a test has of a target; `testTarget` of test/support gives it. */
export type Target = {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly adminUser: string;
  readonly adminPassword: string;
  readonly ca: string;
  readonly query: (text: string, values?: unknown[]) => Promise<unknown[]>;
};

const resource = 'orders' as ResourceName;
export const testingInstallation = 'testing0';

const declare = (name: string, permissions: Role['permissions'], more: Partial<Role> = {}): Role => ({
  name: `orders/${name}` as RoleName,
  resource,
  description: name,
  maxDuration: hours(8),
  permissions,
  statementTimeout: seconds(60),
  maxConnections: 150,
  requesters: { groups: ['engineers'] },
  approvers: { groups: ['dba'], count: 1 },
  ...more,
});

export const supportRead = declare('support-read', {
  tables: [
    { schema: 'public', name: 'orders', select: 'all' },
    { schema: 'public', name: 'order_items', select: 'all' },
    { schema: 'public', name: 'products', select: 'all' },
    { schema: 'public', name: 'customers', select: ['id', 'name', 'city'] },
  ],
  functions: [],
});

export const fixOrders = declare('fix-orders', {
  tables: [
    { schema: 'public', name: 'orders', select: 'all', update: 'all', insert: 'all' },
    { schema: 'public', name: 'customers', select: ['id', 'name', 'city', 'email'] },
  ],
  functions: [],
});

export const wallClock: Clock = { now: () => parseInstant(Date.now()) as Instant };

export type TestingGateway = {
  readonly gateway: Gateway;
  readonly controlPlane: TestingControlPlane;
  readonly access: TargetAccess;
  readonly target: Target;
  readonly journalFolder: string;
  readonly give: (role: Role, forMs?: number, handle?: string) => { user: string; password: string; grant: GrantId };
  /** For `pg`. */
  readonly config: (login: { user: string; password: string }, more?: ClientConfig) => ClientConfig;
  readonly connect: (login: { user: string; password: string }, more?: ClientConfig) => Promise<Client>;
  /** `PG*` variables for psql. */
  readonly env: (login: { user: string; password: string }) => Record<string, string>;
  /** Waits until the control plane has an event that the condition takes. */
  readonly event: <K extends GatewayEvent['kind']>(
    kind: K,
    where?: (event: GatewayEvent & { kind: K }) => boolean,
  ) => Promise<GatewayEvent & { kind: K }>;
  readonly restart: (more?: Partial<GatewayOptions>) => Promise<void>;
  readonly stop: () => Promise<void>;
};

type Started = { -readonly [K in keyof TestingGateway]: TestingGateway[K] };

export async function startTestingGateway(
  target: Target,
  temporaryFolder: string,
  {
    roles = [],
    ...options
  }: Partial<GatewayOptions> & {
    /** Further roles that are declared from the start: what is made for one that isn't may be dropped again. */
    readonly roles?: readonly Role[];
  } = {},
  accessLike: Partial<TargetAccess> = {},
): Promise<TestingGateway> {
  const journalFolder = mkdtempSync(join(temporaryFolder, 'sally-gateway-'));
  const access: TargetAccess = {
    resource,
    installation: testingInstallation,
    address: { host: target.host, port: target.port },
    database: target.database,
    tls: { mode: 'verify-full', ca: target.ca },
    admin: { user: target.adminUser, password: new Secret(target.adminPassword) },
    connectTimeout: 5000 as Duration,
    ...accessLike,
  };
  const clock = options.clock ?? wallClock;
  const controlPlane = createTestingControlPlane({
    clock,
    random: randomBytes,
    targets: [access],
    roles: [supportRead, fixOrders, ...roles],
  });
  const clients = new Set<Client>();
  const start = (more: Partial<GatewayOptions> = {}) =>
    startGateway({
      controlPlane,
      clock,
      random: randomBytes,
      journalFolder,
      listen: { host: '127.0.0.1', port: 0 },
      ...options,
      ...more,
    });
  const self: Started = {
    gateway: await start(),
    controlPlane,
    access,
    target,
    journalFolder,
    give: (role, forMs = 3_600_000, handle = 'ada') => controlPlane.give(handle, role, forMs),
    config: ({ user, password }, more = {}) => ({
      host: '127.0.0.1',
      port: self.gateway.port,
      database: target.database,
      user,
      password,
      ...more,
    }),
    async connect(login, more) {
      const client = new Client(self.config(login, more));
      client.on('error', () => {});
      await client.connect();
      clients.add(client);
      return client;
    },
    env: ({ user, password }) => ({
      PGHOST: '127.0.0.1',
      PGPORT: String(self.gateway.port),
      PGDATABASE: target.database,
      PGUSER: user,
      PGPASSWORD: password,
      PGSSLMODE: 'prefer',
    }),
    async event(kind, where = () => true) {
      const fits = (event: GatewayEvent): event is GatewayEvent & { kind: typeof kind } =>
        event.kind === kind && where(event as GatewayEvent & { kind: typeof kind });
      for (const deadline = Date.now() + 30_000; Date.now() < deadline;) {
        const found = controlPlane.events().find(fits);
        if (found !== undefined) return found;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      throw new Error(`no event ${kind} within thirty seconds`);
    },
    async restart(more) {
      await self.gateway.stop();
      self.gateway = await start(more);
    },
    async stop() {
      await Promise.allSettled([...clients].map((client) => client.end()));
      await self.gateway.stop();
      rmSync(journalFolder, { recursive: true, force: true });
    },
  };
  return self;
}
