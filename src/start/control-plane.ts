/** The gateway's control plane in this process: the use cases behind the interface that the gateway states. */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ResourceName } from '#core/ids.ts';
import { seconds } from '#core/instant.ts';
import type { Resource, SecretReference } from '#core/role.ts';
import { Secret } from '#core/secret.ts';
import type { Change } from '#app/changes.ts';
import type { AppContext } from '#app/context.ts';
import { decideStatement } from '#app/decide-statement.ts';
import { endOrphanedSessions } from '#app/end-orphaned-sessions.ts';
import { findCredential } from '#app/find-credential.ts';
import { knownGrants, liveSessions } from '#app/live-sessions.ts';
import { openSession } from '#app/open-session.ts';
import { shipJournal } from '#app/ship-journal.ts';
import { holdStatement } from '#app/hold-statement.ts';
import { holdStates } from '#app/read-holds.ts';
import { reportPreview, withdraw } from '#app/settle-hold.ts';
import type { ControlPlane, DecideAsk, GatewayChange, TargetAccess } from '#gateway/control-plane.ts';
import type { StatementQuestion } from '#policy/question.ts';
import type { Environment } from '#src/config.ts';
import type { Timers } from './system.ts';

const heartbeatMs = 5_000;

export function createControlPlane(from: {
  readonly app: AppContext;
  readonly environment: Environment;
  readonly timers: Timers;
  /** Whether the store answers: without it nobody knows what was revoked, and the heartbeat stops. */
  readonly isAlive: () => Promise<boolean>;
  /** What relative paths in the configuration start from. */
  readonly folder: string;
}): ControlPlane {
  const { app, environment, timers, isAlive, folder } = from;
  const resourceOf = (name: ResourceName): Resource | undefined =>
    app.policy.configuration?.resources.find((resource) => resource.name === name);
  // An installation is its log: one that was restored is the same again, another has another key.
  const installation = installationOf(app.logSigner.vkey);
  return {
    findCredential: (userName) => findCredential(app, userName),
    openSession: (ask) => openSession(app, ask),
    decide: (ask) => {
      const { session, needs, digest, hold, isRehearsal } = ask;
      return decideStatement(app, { session, needs, context: contextOf(ask), digest, hold, isRehearsal });
    },
    hold: (ask) => holdStatement(app, { ...ask, context: contextOf(ask) }),
    withdrawHold: async (hold, because) => {
      await withdraw(app, { gateway: true }, { hold, because });
    },
    holdStates: (ids) => holdStates(app, ids),
    reportPreview: async (hold, preview) => {
      const outcome = await reportPreview(app, hold, preview);
      // Nobody can sign for what wasn't shown, so whoever ran it has to know.
      if (outcome.kind === 'refused') throw new Error(outcome.message);
    },
    ship: (gatewayId, batch) => shipJournal(app, gatewayId, batch),
    endOrphans: (gatewayId, which) => endOrphanedSessions(app, gatewayId, which),
    liveSessions: (ids) => liveSessions(app, ids),
    knownGrants: (ids) => knownGrants(app, ids),
    declaredRoles: () =>
      Promise.resolve(app.policy.configuration?.resources.flatMap(({ roles }) => roles.map(({ name }) => name))),
    postgresResources: () =>
      Promise.resolve(app.policy.configuration?.resources.map((resource) => resource.name) ?? []),
    // Asynchronous, so that a secret that can't be read is a rejection like any other.
    resourceTarget: async (name) => {
      const resource = resourceOf(name);
      return await Promise.resolve(
        resource === undefined ? undefined : targetOf(resource, installation, environment, folder),
      );
    },
    subscribe: (on) => {
      const subscription = app.changes.subscribe((change) => {
        for (const told of changesFor(change, app)) on(told);
      });
      let timer: Disposable | undefined;
      let isOver = false;
      const beat = () => {
        timer = timers.setTimer(heartbeatMs, beat);
        void isAlive().then((alive) => {
          if (alive && !isOver) on({ kind: 'heartbeat', at: app.clock.now() });
        });
      };
      beat();
      on({ kind: 'heartbeat', at: app.clock.now() });
      return {
        [Symbol.dispose]: () => {
          isOver = true;
          timer?.[Symbol.dispose]();
          subscription[Symbol.dispose]();
        },
      };
    },
  };
}

function contextOf({ context, estimatedRows }: DecideAsk): StatementQuestion['context'] {
  return {
    statementClass: context.statementClass,
    hasWhere: context.hasWhere ?? false,
    statementCount: context.statementCount,
    functions: context.functions,
    ...(estimatedRows === undefined ? {} : { estimatedRows }),
  };
}

/** Eight letters and digits. */
const installationOf = (logKey: string): string =>
  BigInt(`0x${hash('sha256', `installation ${logKey}`, 'hex').slice(0, 16)}`)
    .toString(36)
    .slice(0, 8);

function changesFor(change: Change, app: AppContext): readonly GatewayChange[] {
  switch (change.kind) {
    case 'grant_ended':
      return [
        {
          kind: 'grant_ended',
          grant: change.grant,
          reason: change.how,
          ...(change.word === undefined ? {} : { message: change.word }),
        },
      ];
    case 'principal':
      return [
        {
          kind: change.state === 'suspended' ? 'principal_suspended' : 'principal_changed',
          principal: change.principal,
        },
      ];
    case 'configuration_loaded':
      return [
        { kind: 'policy_changed', policyVersion: change.version },
        ...(app.policy.configuration?.resources ?? []).map((resource) => ({
          kind: 'resource_changed' as const,
          resource: resource.name,
        })),
      ];
    case 'session_ended':
      // Those that a gateway has ended it knows of.
      if (change.cuts !== true) return [];
      return [{ kind: 'session_ended', session: change.session, reason: 'revoked', message: change.word }];
    case 'hold':
      if (change.session === undefined || change.state === 'waiting' || change.state === 'released') return [];
      return [
        {
          kind: 'hold_settled',
          hold: change.hold,
          session: change.session,
          outcome: change.state === 'cured' || change.state === 'denied' ? change.state : 'ended',
          ...(change.word === undefined ? {} : { message: change.word }),
        },
      ];
    case 'missed':
      return [{ kind: 'missed' }];
    default:
      return [];
  }
}

/** Secrets are read at the moment of use, from where the configuration says (INVARIANT 10). */
function targetOf(resource: Resource, installation: string, environment: Environment, folder: string): TargetAccess {
  const { tls } = resource;
  const secret = (what: string, reference: SecretReference) =>
    readSecret(`${what} for \`${resource.name}\``, reference, environment, folder);
  return {
    resource: resource.name,
    installation,
    address: { host: resource.host, port: resource.port },
    database: resource.database,
    tls:
      tls.mode === 'disable'
        ? { mode: 'disable' }
        : {
            mode: 'verify-full',
            ...(tls.ca === undefined ? {} : { ca: readFileSync(resolve(folder, tls.ca), 'utf8') }),
            ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
            ...(tls.direct === undefined ? {} : { direct: tls.direct }),
            ...(tls.certificate === undefined
              ? {}
              : {
                  certificate: {
                    chain: readFileSync(resolve(folder, tls.certificate.file), 'utf8'),
                    key: secret('key', tls.certificate.key),
                  },
                }),
          },
    ...(resource.authentication === undefined ? {} : { authentication: resource.authentication }),
    admin: {
      user: resource.admin.user,
      // None: the target knows it by its certificate, or asks for nothing, and nothing is what it would be given.
      password: resource.admin.password === undefined ? new Secret('') : secret('password', resource.admin.password),
    },
    connectTimeout: seconds(10),
  };
}

function readSecret(
  what: string,
  reference: SecretReference,
  environment: Environment,
  folder: string,
): Secret<string> {
  if ('env' in reference) {
    const value = environment[reference.env];
    if (value === undefined || value === '')
      throw new Error(`read the ${what}: the environment variable \`${reference.env}\` is not set`);
    return new Secret(value);
  }
  return new Secret(readFileSync(resolve(folder, reference.file), 'utf8').replace(/\r?\n$/, ''));
}
