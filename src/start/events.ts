/** What the parts tell, for the operator's log and the metrics. None of it carries a statement, a parameter or a secret. */
import type { GatewayEvents } from '#gateway/events.ts';
import type { Logger } from 'pino';
import type { ApiEvents } from '#api/implement.ts';
import type { Metrics } from './metrics.ts';

export function gatewayEvents(log: Logger, metrics: Metrics): GatewayEvents {
  const count = (what: string) => metrics.gatewayEvents.inc({ what });
  return {
    connectionRefused: (why, address) => {
      count(`refused_${why}`);
      log.info({ why, address }, 'a connection to the gateway was refused');
    },
    sessionOpened: (session, openMs) => {
      count('session_opened');
      log.info({ session: session.id, grant: session.grant, role: session.role.name, openMs }, 'session opened');
    },
    sessionEnded: (session, reason, totals) => {
      count('session_ended');
      log.info({ session: session.id, grant: session.grant, reason, ...totals }, 'session ended');
    },
    journalFailed: (err) => {
      count('journal_failed');
      log.error({ err }, 'the journal can’t be written: nothing is forwarded until it can');
    },
    shipFailed: (err) => {
      count('ship_failed');
      log.warn({ err }, 'the journal could not be shipped; trying again');
    },
    controlPlaneLost: () => {
      count('control_plane_lost');
      log.error('the gateway has lost the control plane and cuts its sessions');
    },
    controlPlaneBack: () => {
      count('control_plane_back');
      log.info('the control plane is back');
    },
    targetFailed: (resource, err) => {
      count('target_failed');
      log.error({ resource, err }, 'a target needs attention');
    },
    engineDied: (engine, { error, ...rest }) => {
      count('engine_died');
      log.error({ engine, err: error, ...rest }, 'an engine of the gateway died and is started again');
    },
    fault: (what, err) => {
      count('fault');
      log.error({ err }, what);
    },
  };
}

export function apiEvents(log: Logger): ApiEvents {
  return {
    answered: (event) => log.debug(event, 'answered'),
    fault: ({ id, route, fault }) => log.error({ id, route, err: fault }, 'a request failed'),
  };
}
