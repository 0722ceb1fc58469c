/**
 * Least privilege a second time, on the database itself: per grant one login, member of the role's database role, with
 * `valid until` at the end of the grant, random keys that only this process knows, and limits. It is dropped at the
 * end, tried without end, and every minute all logins on the target that belong to no active grant are dropped
 * (INVARIANT 12).
 *
 * The keys are sent as their SCRAM verifier, so they are in no log of the server. PostgreSQL 16 made membership three
 * options (inherit, set, admin); before, `noinherit` on the login says the same: it may become the role, and is nothing
 * by itself.
 */
import type { GrantId, Random, ResourceName, RoleName } from '#core/ids.ts';
import { hash } from 'node:crypto';
import { formatInstant, type Clock, type Instant } from '#core/instant.ts';
import { isReadOnly, type Role } from '#core/role.ts';
import { Secret } from '#core/secret.ts';
import type { AuthorizedSession } from '#core/session.ts';
import { deriveScramKeys, randomScramKeys, verifierFromKeys, type ScramClientKeys } from '#wire/postgres/scram.ts';
import type { ControlPlane, TargetAccess } from '../control-plane.ts';
import type { Reached } from '../fault-points.ts';
import type { GatewayEvent } from '../records.ts';
import type { Timers } from '../timers.ts';
import { createTurns } from '../turns.ts';
import { mostAdminConnections, openAdmin, quoteIdentifier, quoteLiteral, sqlStateOf, type Admin } from './admin.ts';
import { convergeRole, dropUndeclaredRole } from './database-role.ts';
import { databaseRoleName, databaseRolePrefix, grantOfLogin, loginName, loginPrefix } from './names.ts';
import { TargetFault } from './target-address.ts';
import type { Identity } from './target-authentication.ts';

export type Login = {
  /** Which one of those that were made one after the other under the same name. */
  readonly number: number;
  readonly user: string;
  /** As what its sessions run. */
  readonly databaseRole: string;
  /** Empty where the target takes nothing below SCRAM. */
  readonly password: Secret<string>;
  /** For the salt that the target has of us: as good as the password, and there already. */
  readonly derived: { readonly salt: Uint8Array; readonly iterations: number; readonly keys: ScramClientKeys };
};

/** With the keys that the target's verifier was made of; another salt means that somebody has set another password. */
export const identityOf = ({ user, password, derived }: Login): Identity => ({
  user,
  password,
  keys: (salt, iterations) =>
    salt.equals(derived.salt) && iterations === derived.iterations
      ? Promise.resolve({
          clientKey: Buffer.from(derived.keys.clientKey),
          serverKey: Buffer.from(derived.keys.serverKey),
        })
      : Promise.reject(new TargetFault('target_refused', `target has another password of \`${user}\``)),
});

export type Provisioner = AsyncDisposable & {
  /** The login of a session's grant, made when it isn't there. Throws `TargetFault` or what the server said. */
  readonly login: (session: AuthorizedSession, access: TargetAccess) => Promise<Login>;
  /** The target did not take that login of the grant: another is made for the next session, if it hasn't been. */
  readonly renew: (grant: GrantId, number: number) => void;
  /** The role of a grant with a login may have been declared anew: the target's role is made to say the same. */
  readonly follow: (grant: GrantId, role: Role) => void;
  /** The grant's end has moved: so does `valid until`. */
  readonly extend: (grant: GrantId, endsAt: Instant) => void;
  /**
   * Drops the grant's login, again and again until it is gone. Resolves after the first try. False: this gateway has made
   * none; one of an earlier life is found by `reconcile`.
   */
  readonly drop: (grant: GrantId) => Promise<boolean>;
  /** Ends these backends of the grant's login on the target: what held the other end of their connections is gone. */
  readonly endBackends: (grant: GrantId, processIds: readonly number[]) => Promise<void>;
  /** Grants that have a login made by this gateway. */
  readonly grants: () => readonly GrantId[];
  /** Drops every login on the target that belongs to no active grant. */
  readonly reconcile: (resource: ResourceName) => Promise<void>;
  /** The administrator's connection, shared with the catalogue. */
  readonly admin: (access: TargetAccess) => Admin;
};

const iterations = 4096;
/** The administrator's connections to a target that refuses logins are opened anew at most this often. */
const renewAtMostEveryMs = 10_000;
/**
 * Of the administrator's few connections (admin.ts) one is left for who comes in: a drop may wait for backends that don't end,
 * and for locks that somebody else holds.
 */
const mostDrops = mostAdminConnections - 1;
/** A role that was made true is looked at again after this. */
const convergeEveryMs = 60_000;

type Made = {
  readonly number: number;
  isStale: boolean;
  login: Promise<Login>;
  /** What its sessions begin with, as in `limitsOf`. */
  limits: string;
  readonly resource: ResourceName;
  readonly access: TargetAccess;
};

export function createProvisioner(context: {
  readonly controlPlane: Pick<ControlPlane, 'resourceTarget' | 'knownGrants' | 'declaredRoles'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly record: (event: GatewayEvent) => void;
  readonly reached?: Reached | undefined;
}): Provisioner {
  const { controlPlane, clock, random, timers, record } = context;
  const admins = new Map<string, { readonly access: string; readonly admin: Admin; readonly openedAt: number }>();
  const made = new Map<GrantId, Made>();
  const converged = new Map<string, { readonly declared: string; readonly at: number; readonly done: Promise<void> }>();
  const retries = new Set<Disposable>();
  const retired = new Set<Admin>();
  let count = 0;
  const dropping = new Map<string, Promise<void>>();
  const turns = createTurns(mostDrops);
  /** Targets that can't look whether somebody still waits for an answer. */
  const blind = new Set<ResourceName>();
  let isStopped = false;

  /** Who is in the middle of something with it comes to the end of that. */
  const retire = (admin: Admin): void => {
    retired.add(admin);
    const end = timers.setTimer(60_000, () => {
      retries.delete(end);
      retired.delete(admin);
      void admin[Symbol.asyncDispose]();
    });
    retries.add(end);
  };

  const adminOf = (access: TargetAccess): Admin => {
    // A changed password counts as well: connections that are made from now on need it.
    const password = hash('sha256', access.admin.password.reveal(), 'hex');
    const described = JSON.stringify([
      access.address,
      access.database,
      access.tls,
      access.authentication,
      access.admin.user,
      password,
    ]);
    const known = admins.get(access.resource);
    if (known?.access === described) return known.admin;
    if (known !== undefined) retire(known.admin);
    const admin = openAdmin(access);
    admins.set(access.resource, { access: described, admin, openedAt: clock.now() });
    return admin;
  };

  /** As the resource is registered now, which may be another address, certificate or password than when a login was made. */
  const accessNow = async (known: Made): Promise<TargetAccess> =>
    (await controlPlane.resourceTarget(known.resource).catch(() => undefined)) ?? known.access;

  const makeTrue = (access: TargetAccess, role: Role): Promise<void> => {
    const admin = adminOf(access);
    const declared = JSON.stringify(role.permissions);
    const known = converged.get(role.name);
    if (known?.declared === declared && clock.now() - known.at < convergeEveryMs) return known.done;
    const done = convergeRole(admin, databaseRoleName(access.installation, role.name), role).then(({ lacking }) => {
      if (lacking.length > 0)
        record({
          kind: 'target.alarm',
          resource: role.resource,
          what: 'role_lacks_privileges',
          detail: `${role.name}: ${lacking.join('; ')}`,
        });
    });
    converged.set(role.name, { declared, at: clock.now(), done });
    done.catch((error: unknown) => {
      converged.delete(role.name);
      if (error instanceof TargetFault && error.code === 'role_refused')
        record({
          kind: 'target.alarm',
          resource: role.resource,
          what: 'role_refused',
          detail: `${role.name}: ${error.message}`,
        });
    });
    return done;
  };

  const make = async (session: AuthorizedSession, access: TargetAccess, number: number): Promise<Login> => {
    const { grant, role, endsAt } = session;
    const admin = adminOf(access);
    const user = loginName(access.installation, grant);
    const databaseRole = databaseRoleName(access.installation, role.name);
    const salt = Buffer.from(random(16));
    // Only a target that wants less than SCRAM ever sees a password; for all others there is none.
    const { authentication = 'scram-sha-256' } = access;
    const hasPassword = authentication === 'password' || authentication === 'md5';
    const password = hasPassword ? Buffer.from(random(32)).toString('base64url') : undefined;
    const [keys] = await Promise.all([
      password === undefined ? randomScramKeys(random(32)) : deriveScramKeys(password, salt, iterations),
      makeTrue(access, role),
    ]);
    // A drop of the same name that is still under way must not take the new one.
    await dropping.get(user)?.catch(() => {});
    context.reached?.('role_converged');
    const quoted = quoteIdentifier(user);
    const attributes = [
      'login noinherit',
      `password ${quoteLiteral(verifierFromKeys(keys, salt, iterations))}`,
      `valid until ${quoteLiteral(formatInstant(endsAt))}`,
    ].join(' ');
    const settings = limitsOf(access.installation, grant, role);
    // INVARIANT 4: a statement whose gateway has died is ended by the target, which would not look before it has an answer.
    // From 14 on, and not on every platform.
    const looks = `alter role ${quoted} set client_connection_check_interval to '1s'`;
    // Two round trips, since somebody waits: what there is, and then all that is to be done.
    const makeIt = async (query: Admin['query'], more: readonly string[]) => {
      const [found] = await query(
        `select current_setting('server_version_num')::int as version,
                has_database_privilege('public', current_database(), 'connect') as connects,
                r.oid is not null as is_there,
                rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as more,
                array(select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid
                      where m.member = r.oid and g.rolname <> $2) as groups
         from (select $1 as name) as asked left join pg_roles r on r.rolname = asked.name`,
        [user, databaseRole],
      );
      // One of an earlier life of this gateway, or one that somebody has touched since.
      if (found?.['more'] === true)
        throw new TargetFault('target_refused', `login \`${user}\` has attributes that nobody declared`);
      const groups = (found?.['groups'] ?? []) as string[];
      const options = Number(found?.['version']) >= 160_000 ? ' with inherit false, set true, admin false' : '';
      const steps = [
        // Nobody waits for the disk: a target that forgets the login in a crash forgets its connections, and it is made anew.
        'set local synchronous_commit to off',
        ...groups.map((group) => `revoke ${quoteIdentifier(group)} from ${quoted}`),
        // A new role has none of the attributes, and only a superuser may say so of one that is there.
        `${found?.['is_there'] === true ? 'alter' : 'create'} role ${quoted} ${attributes}`,
        `grant ${quoteIdentifier(databaseRole)} to ${quoted}${options}`,
        settings,
        ...more,
        // Where `connect` was taken from everybody. It goes with the login: `drop owned` takes it back.
        ...(found?.['connects'] === true
          ? []
          : [`grant connect on database ${quoteIdentifier(access.database)} to ${quoted}`]),
      ];
      await query(steps.join('; '));
      context.reached?.('login_half_made');
    };
    const isBlind = blind.has(access.resource);
    await admin
      .transaction((query) => makeIt(query, isBlind ? [] : [looks]))
      .catch(async (error: unknown) => {
        // unrecognized parameter, invalid value: it is without once, and the next ones don't ask.
        if (isBlind || !['42704', '22023'].includes(sqlStateOf(error) ?? '')) throw error;
        blind.add(access.resource);
        await admin.transaction((query) => makeIt(query, []));
      });
    context.reached?.('login_created');
    record({ kind: 'target.login_created', resource: access.resource, grant, login: user });
    return {
      number,
      user,
      databaseRole: runsAs(access.installation, role),
      password: new Secret(password ?? ''),
      derived: { salt, iterations, keys },
    };
  };

  const dropLogin = (admin: Admin, resource: ResourceName, user: string, because: 'ended' | 'reconciled') => {
    const running = dropping.get(user);
    if (running !== undefined) return running;
    const run = dropOnce(admin, user, (rest) => turns(resource, rest), context.reached)
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
      await dropLogin(adminOf(await accessNow(known)), known.resource, user, 'ended');
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
    // The catalogue may ask with what it knew at an earlier time; only who opens a session or reconciles knows it is new.
    admin: (access) => admins.get(access.resource)?.admin ?? adminOf(access),
    grants: () => [...made.keys()],
    login(session, access) {
      const known = made.get(session.grant);
      const limits = limitsOf(access.installation, session.grant, session.role);
      if (known?.isStale === false) {
        if (known.limits !== limits) {
          // INVARIANT 9: the role was declared anew, and the login is of before.
          known.limits = limits;
          known.login = known.login.then(async (login) => {
            await adminOf(access).query(limits);
            return { ...login, databaseRole: runsAs(access.installation, session.role) };
          });
          known.login.catch(() => (known.isStale = true));
        }
        return Promise.all([known.login, makeTrue(access, session.role)]).then(([login]) => login);
      }
      const number = (count += 1);
      const login = make(session, access, number);
      const entry: Made = { number, login, limits, resource: access.resource, access, isStale: false };
      made.set(session.grant, entry);
      login.catch(() => (entry.isStale = true));
      return login;
    },
    renew(grant, number) {
      const known = made.get(grant);
      if (known?.number !== number) return;
      known.isStale = true;
      // It may be another server by now, that has neither login nor role: nothing that is known of it counts.
      converged.clear();
      const before = admins.get(known.resource);
      // Not for each session that fails: those of the retired go on for a while, and a target has only so many.
      if (before === undefined || clock.now() - before.openedAt < renewAtMostEveryMs) return;
      retire(before.admin);
      admins.delete(known.resource);
    },
    follow(grant, role) {
      const known = made.get(grant);
      const declared = converged.get(role.name)?.declared;
      if (known === undefined || declared === undefined || declared === JSON.stringify(role.permissions)) return;
      const run = async () => makeTrue(await accessNow(known), role);
      run().catch((error: unknown) =>
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
      const user = loginName(known.access.installation, grant);
      const run = async () => {
        await known.login;
        await adminOf(await accessNow(known)).query(
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
    async endBackends(grant, processIds) {
      const known = made.get(grant);
      if (known === undefined) return;
      await adminOf(known.access).query(
        `select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and pid = any($2::int[])`,
        [loginName(known.access.installation, grant), processIds],
      );
    },
    async drop(grant) {
      const known = made.get(grant);
      if (known === undefined) return false;
      made.delete(grant);
      await known.login.catch(() => {});
      await dropUntilGone(known, loginName(known.access.installation, grant), 0);
      return true;
    },
    async reconcile(resource) {
      const access = await controlPlane.resourceTarget(resource);
      if (access === undefined) return;
      const admin = adminOf(access);
      const { installation } = access;
      const alarm = (what: string, name: string) => (error: unknown) =>
        record({
          kind: 'target.alarm',
          resource,
          what,
          detail: `${name}: ${error instanceof Error ? error.message : String(error)}`,
        });
      // INVARIANT 8: only what is ours and is over. A login whose grant we don't know may be that of an installation which
      // is a copy of this one, or which this one is a copy of: it is left until nobody can use it any more.
      const logins = await admin.query(
        `select rolname as name, coalesce(rolvaliduntil, '-infinity') < now() as late from pg_roles
         where starts_with(rolname, $1)`,
        [loginPrefix(installation)],
      );
      const grantOf = (name: unknown) => grantOfLogin(installation, String(name));
      const known = logins.length === 0 ? [] : await controlPlane.knownGrants(logins.map(({ name }) => grantOf(name)));
      const isOver = new Map(known.map((of) => [of.grant, of.isOver]));
      for (const { name, late } of logins)
        if (typeof name === 'string' && (isOver.get(grantOf(name)) ?? late === true))
          await dropLogin(admin, resource, name, 'reconciled').catch(alarm('login_not_dropped', name));
      // These first: what is there by now was declared before, and is found declared unless that has been taken back.
      const roles = await admin.query(`select rolname as name from pg_roles where starts_with(rolname, $1)`, [
        databaseRolePrefix(installation),
      ]);
      const declared = await controlPlane.declaredRoles();
      if (declared === undefined) return;
      const expected = new Set(declared.map((role) => databaseRoleName(installation, role)));
      for (const { name } of roles) {
        if (typeof name !== 'string' || expected.has(name)) continue;
        // It may be declared again before it is looked at again.
        for (const known of converged.keys())
          if (databaseRoleName(installation, known as RoleName) === name) converged.delete(known);
        await dropUndeclaredRole(admin, name).catch(alarm('role_not_dropped', name));
      }
    },
    async [Symbol.asyncDispose]() {
      isStopped = true;
      for (const retry of retries) retry[Symbol.dispose]();
      await Promise.allSettled(dropping.values());
      const all = [...[...admins.values()].map(({ admin }) => admin), ...retired];
      await Promise.all(all.map((admin) => admin[Symbol.asyncDispose]()));
    },
  };
}

/**
 * INVARIANT 12: who runs as the owner leaves nothing behind, since what it makes is the owner's from the start. As a mere
 * member it would make things of the database role, which is dropped one day.
 */
const runsAs = (installation: string, role: Role): string =>
  role.permissions.setRole ?? databaseRoleName(installation, role.name);

/** The statements that give a login what its role says of sessions. */
function limitsOf(installation: string, grant: GrantId, role: Role): string {
  const alter = `alter role ${quoteIdentifier(loginName(installation, grant))}`;
  return [
    `${alter} set role to ${quoteLiteral(runsAs(installation, role))}`,
    `${alter} connection limit ${role.maxConnections}`,
    `${alter} set statement_timeout to ${Math.ceil(role.statementTimeout)}`,
    `${alter} set default_transaction_read_only to ${isReadOnly(role) ? 'on' : 'off'}`,
  ].join('; ');
}

/** Shuts the door, ends what is inside, takes the door away. False when there was none. Throws when it can't. */
async function dropOnce(
  admin: Admin,
  user: string,
  inTurn: (rest: () => Promise<void>) => Promise<void>,
  reached?: Reached,
): Promise<boolean> {
  const quoted = quoteIdentifier(user);
  try {
    await admin.query(`alter role ${quoted} nologin`);
  } catch (error) {
    if (sqlStateOf(error) === '42704') return false;
    throw error;
  }
  reached?.('login_locked');
  await inTurn(() => takeAway(admin, user, quoted));
  return true;
}

async function takeAway(admin: Admin, user: string, quoted: string): Promise<void> {
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
}
