/**
 * Least privilege a second time, on the database itself: per grant one login, member of the role's database role, with
 * `valid until` at the end of the grant, a random password that only this process knows, and limits. It is dropped at the
 * end, tried without end, and every minute all logins on the target that belong to no active grant are dropped
 * (INVARIANT 12).
 *
 * The password is sent as its SCRAM verifier, so it is in no log of the server. PostgreSQL 16 made membership three
 * options (inherit, set, admin); before, `noinherit` on the login says the same: it may become the role, and is nothing
 * by itself.
 */
import type { GrantId, Random, ResourceName } from '#core/ids.ts';
import { formatInstant, type Clock, type Instant } from '#core/instant.ts';
import type { Role } from '#core/role.ts';
import { Secret } from '#core/secret.ts';
import type { AuthorizedSession } from '#core/session.ts';
import { deriveScramKeys, verifierFromKeys, type ScramClientKeys } from '#wire/postgres/scram.ts';
import type { ControlPlane, TargetAccess } from '../control-plane.ts';
import type { Reached } from '../fault-points.ts';
import type { GatewayEvent } from '../records.ts';
import type { Timers } from '../timers.ts';
import { openAdmin, quoteIdentifier, quoteLiteral, sqlStateOf, type Admin } from './admin.ts';
import { convergeRole, databaseRoleName, isReadOnly } from './database-role.ts';
import { TargetFault } from './target-address.ts';
import type { Identity } from './target-authentication.ts';

export type Login = {
  readonly user: string;
  readonly databaseRole: string;
  readonly password: Secret<string>;
  /** For the salt that the target has of us: as good as the password, and there already. */
  readonly derived: { readonly salt: Uint8Array; readonly iterations: number; readonly keys: ScramClientKeys };
};

/** With keys that are derived once, as long as the target has the password that we set. */
export const identityOf = ({ user, password, derived }: Login): Identity => ({
  user,
  password,
  keys: (salt, iterations) =>
    salt.equals(derived.salt) && iterations === derived.iterations
      ? Promise.resolve({
          clientKey: Buffer.from(derived.keys.clientKey),
          serverKey: Buffer.from(derived.keys.serverKey),
        })
      : deriveScramKeys(password.reveal(), salt, iterations),
});

export type Provisioner = AsyncDisposable & {
  /** The login of a session's grant, made when it isn't there. Throws `TargetFault` or what the server said. */
  readonly login: (session: AuthorizedSession, access: TargetAccess) => Promise<Login>;
  /** The target did not take the login: it is made anew for the next session. */
  readonly renew: (grant: GrantId) => void;
  /** The role of a grant with a login may have been declared anew: the target's role is made to say the same. */
  readonly follow: (grant: GrantId, role: Role) => void;
  /** The grant's end has moved: so does `valid until`. */
  readonly extend: (grant: GrantId, endsAt: Instant) => void;
  /**
   * Drops the grant's login, again and again until it is gone. Resolves after the first try. False: this gateway has made
   * none; one of an earlier life is found by `reconcile`.
   */
  readonly drop: (grant: GrantId) => Promise<boolean>;
  /** Grants that have a login made by this gateway. */
  readonly grants: () => readonly GrantId[];
  /** Drops every login on the target that belongs to no active grant. */
  readonly reconcile: (resource: ResourceName) => Promise<void>;
  /** The administrator's connection, shared with the catalogue. */
  readonly admin: (access: TargetAccess) => Admin;
};

const loginPrefix = 'sally_l_';
/** `sally_l_` and the grant's id without its prefix. */
export const loginName = (grant: GrantId): string => `${loginPrefix}${grant.slice(4)}`;
const iterations = 4096;
/** A role that was made true is looked at again after this. */
const convergeEveryMs = 60_000;

type Made = {
  isStale: boolean;
  readonly login: Promise<Login>;
  readonly resource: ResourceName;
  readonly access: TargetAccess;
};

export function createProvisioner(context: {
  readonly controlPlane: Pick<ControlPlane, 'resourceTarget' | 'postgresResources' | 'activeGrants'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly record: (event: GatewayEvent) => void;
  readonly reached?: Reached | undefined;
}): Provisioner {
  const { controlPlane, clock, random, timers, record } = context;
  const admins = new Map<string, { readonly access: string; readonly admin: Admin }>();
  const made = new Map<GrantId, Made>();
  const converged = new Map<string, { readonly declared: string; readonly at: number; readonly done: Promise<void> }>();
  const retries = new Set<Disposable>();
  const dropping = new Map<string, Promise<void>>();
  let isStopped = false;

  const adminOf = (access: TargetAccess): Admin => {
    const described = JSON.stringify([
      access.address,
      access.database,
      access.tls,
      access.authentication,
      access.admin.user,
    ]);
    const known = admins.get(access.resource);
    if (known?.access === described) return known.admin;
    void known?.admin[Symbol.asyncDispose]();
    const admin = openAdmin(access);
    admins.set(access.resource, { access: described, admin });
    return admin;
  };

  const makeTrue = (admin: Admin, role: Role): Promise<void> => {
    const declared = JSON.stringify(role.permissions);
    const known = converged.get(role.name);
    if (known?.declared === declared && clock.now() - known.at < convergeEveryMs) return known.done;
    const done = convergeRole(admin, role).then(({ lacking }) => {
      if (lacking.length > 0)
        record({
          kind: 'target.alarm',
          resource: role.resource,
          what: 'role_lacks_privileges',
          detail: `${role.name}: ${lacking.join('; ')}`,
        });
    });
    converged.set(role.name, { declared, at: clock.now(), done });
    done.catch(() => converged.delete(role.name));
    return done;
  };

  const make = async (session: AuthorizedSession, access: TargetAccess): Promise<Login> => {
    const { grant, role, endsAt } = session;
    const admin = adminOf(access);
    const user = loginName(grant);
    const databaseRole = databaseRoleName(role.name);
    const password = Buffer.from(random(32)).toString('base64url');
    const salt = Buffer.from(random(16));
    const [keys] = await Promise.all([deriveScramKeys(password, salt, iterations), makeTrue(admin, role)]);
    // A drop of the same name that is still under way must not take the new one.
    await dropping.get(user)?.catch(() => {});
    context.reached?.('role_converged');
    const quoted = quoteIdentifier(user);
    const attributes = [
      'login noinherit',
      `connection limit ${role.maxConnections}`,
      `password ${quoteLiteral(verifierFromKeys(keys, salt, iterations))}`,
      `valid until ${quoteLiteral(formatInstant(endsAt))}`,
    ].join(' ');
    await admin.transaction(async (query) => {
      const [found] = await query(
        `select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as more,
                array(select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid
                      where m.member = r.oid and g.rolname <> $2) as groups
         from pg_roles r where rolname = $1`,
        [user, databaseRole],
      );
      // One of an earlier life of this gateway, or one that somebody has touched since.
      if (found?.['more'] === true)
        throw new TargetFault('target_refused', `login \`${user}\` has attributes that nobody declared`);
      for (const group of (found?.['groups'] ?? []) as string[])
        await query(`revoke ${quoteIdentifier(group)} from ${quoted}`);
      // A new role has none of the attributes, and only a superuser may say so of one that is there.
      await query(`${found === undefined ? 'create' : 'alter'} role ${quoted} ${attributes}`);
      const [version] = await query(`select current_setting('server_version_num')::int as number`);
      const options = Number(version?.['number']) >= 160_000 ? ' with inherit false, set true, admin false' : '';
      await query(`grant ${quoteIdentifier(databaseRole)} to ${quoted}${options}`);
      await query(`alter role ${quoted} set role to ${quoteLiteral(databaseRole)}`);
      await query(`alter role ${quoted} set statement_timeout to ${Math.ceil(role.statementTimeout)}`);
      await query(`alter role ${quoted} set default_transaction_read_only to ${isReadOnly(role) ? 'on' : 'off'}`);
      // INVARIANT 4: a statement whose gateway has died is ended by the target, which would not look before it has an answer.
      // From 14 on, and not on every platform.
      await query('savepoint looks');
      await query(`alter role ${quoted} set client_connection_check_interval to '1s'`).then(
        () => query('release savepoint looks'),
        () => query('rollback to savepoint looks'),
      );
      context.reached?.('login_half_made');
      // Where `connect` was taken from everybody. It goes with the login: `drop owned` takes it back.
      const [may] = await query(`select has_database_privilege($1, current_database(), 'connect') as connect`, [user]);
      if (may?.['connect'] !== true)
        await query(`grant connect on database ${quoteIdentifier(access.database)} to ${quoted}`);
    });
    context.reached?.('login_created');
    record({ kind: 'target.login_created', resource: access.resource, grant, login: user });
    return {
      user,
      databaseRole,
      password: new Secret(password),
      derived: { salt, iterations, keys },
    };
  };

  const dropLogin = (admin: Admin, resource: ResourceName, user: string, because: 'ended' | 'reconciled') => {
    const running = dropping.get(user);
    if (running !== undefined) return running;
    const run = dropOnce(admin, user, context.reached)
      .then((wasThere) => {
        if (wasThere) context.reached?.('login_dropped');
        if (wasThere) record({ kind: 'target.login_dropped', resource, login: user, because });
      })
      .finally(() => dropping.delete(user));
    dropping.set(user, run);
    return run;
  };

  const dropUntilGone = async (known: Made, user: string, tries: number): Promise<void> => {
    try {
      await dropLogin(adminOf(known.access), known.resource, user, 'ended');
    } catch (error) {
      if (isStopped) return;
      if (tries % 10 === 2)
        record({
          kind: 'target.alarm',
          resource: known.resource,
          what: 'login_not_dropped',
          detail: `${user}: ${error instanceof Error ? error.message : String(error)}`,
        });
      const retry = timers.setTimer(Math.min(500 * 2 ** Math.min(tries, 7), 60_000), () => {
        retries.delete(retry);
        void dropUntilGone(known, user, tries + 1);
      });
      retries.add(retry);
    }
  };

  return {
    admin: adminOf,
    grants: () => [...made.keys()],
    login(session, access) {
      const known = made.get(session.grant);
      if (known?.isStale === false)
        return Promise.all([known.login, makeTrue(adminOf(access), session.role)]).then(([login]) => login);
      const login = make(session, access);
      const entry: Made = { login, resource: access.resource, access, isStale: false };
      made.set(session.grant, entry);
      login.catch(() => (entry.isStale = true));
      return login;
    },
    renew(grant) {
      const known = made.get(grant);
      if (known !== undefined) known.isStale = true;
    },
    follow(grant, role) {
      const known = made.get(grant);
      const declared = converged.get(role.name)?.declared;
      if (known === undefined || declared === undefined || declared === JSON.stringify(role.permissions)) return;
      makeTrue(adminOf(known.access), role).catch((error: unknown) =>
        record({
          kind: 'target.alarm',
          resource: known.resource,
          what: 'role_not_changed',
          detail: `${role.name}: ${error instanceof Error ? error.message : String(error)}`,
        }),
      );
    },
    extend(grant, endsAt) {
      const known = made.get(grant);
      if (known === undefined) return;
      const user = loginName(grant);
      const run = async () => {
        await known.login;
        await adminOf(known.access).query(
          `alter role ${quoteIdentifier(user)} valid until ${quoteLiteral(formatInstant(endsAt))}`,
        );
      };
      // The next session fails to log in then, and says so; the deadline of running ones is the gateway's.
      run().catch((error: unknown) =>
        record({
          kind: 'target.alarm',
          resource: known.resource,
          what: 'login_not_extended',
          detail: `${user}: ${error instanceof Error ? error.message : String(error)}`,
        }),
      );
    },
    async drop(grant) {
      const known = made.get(grant);
      if (known === undefined) return false;
      made.delete(grant);
      await known.login.catch(() => {});
      await dropUntilGone(known, loginName(grant), 0);
      return true;
    },
    async reconcile(resource) {
      const access = await controlPlane.resourceTarget(resource);
      if (access === undefined) return;
      const admin = adminOf(access);
      // First what is there, then what may be: a grant that becomes active in between keeps its login.
      const found = await admin.query(`select rolname as name from pg_roles where starts_with(rolname, $1)`, [
        loginPrefix,
      ]);
      if (found.length === 0) return;
      // Logins belong to the server and not to one database of it: other resources may be on the same one.
      const resources = await controlPlane.postgresResources();
      const grants = await Promise.all(resources.map((name) => controlPlane.activeGrants(name)));
      const active = new Set(grants.flat().map(loginName));
      for (const { name } of found) {
        if (typeof name !== 'string' || active.has(name)) continue;
        await dropLogin(admin, resource, name, 'reconciled').catch((error: unknown) =>
          record({
            kind: 'target.alarm',
            resource,
            what: 'login_not_dropped',
            detail: `${name}: ${error instanceof Error ? error.message : String(error)}`,
          }),
        );
      }
    },
    async [Symbol.asyncDispose]() {
      isStopped = true;
      for (const retry of retries) retry[Symbol.dispose]();
      await Promise.allSettled(dropping.values());
      await Promise.all([...admins.values()].map(({ admin }) => admin[Symbol.asyncDispose]()));
    },
  };
}

/** Shuts the door, ends what is inside, takes the door away. False when there was none. Throws when it can't. */
async function dropOnce(admin: Admin, user: string, reached?: Reached): Promise<boolean> {
  const quoted = quoteIdentifier(user);
  try {
    await admin.query(`alter role ${quoted} nologin`);
  } catch (error) {
    if (sqlStateOf(error) === '42704') return false;
    throw error;
  }
  reached?.('login_locked');
  for (let tries = 0; ; tries += 1) {
    // With a time-out the function waits until the backend is gone.
    const left = await admin.query(
      `select count(*) filter (where not pg_terminate_backend(pid, 2000))::int as stubborn, count(*)::int as found
       from pg_stat_activity where usename = $1`,
      [user],
    );
    if (Number(left[0]?.['found']) === 0) break;
    if (tries >= 3) throw new Error('its backends do not end');
  }
  try {
    await admin.query(`drop role if exists ${quoted}`);
  } catch (error) {
    // It owns something, such as a large object: that was made under a grant that has ended, and nobody else can use it.
    if (sqlStateOf(error) !== '2BP01') throw error;
    await admin.query(`grant ${quoted} to current_user`);
    await admin.query(`drop owned by ${quoted}`);
    await admin.query(`drop role if exists ${quoted}`);
  }
  return true;
}
