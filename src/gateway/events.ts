/**
 * What happens in a gateway, for logs and metrics: one function per event, so that a log line and a counter can't drift
 * apart. None of them ever carries a statement, a parameter or a secret.
 */
import type { ResourceName } from '#core/ids.ts';
import type { AuthorizedSession } from '#core/session.ts';
import type { EndReason } from './control-plane.ts';

export type GatewayEvents = {
  readonly connectionRefused: (why: RefusedWhy, address: string) => void;
  readonly sessionOpened: (session: AuthorizedSession, openMs: number) => void;
  readonly sessionEnded: (
    session: AuthorizedSession,
    reason: EndReason,
    totals: { readonly bytesIn: number; readonly bytesOut: number; readonly statements: number },
  ) => void;
  readonly journalFailed: (error: unknown) => void;
  readonly shipFailed: (error: unknown) => void;
  readonly controlPlaneLost: () => void;
  readonly controlPlaneBack: () => void;
  readonly targetFailed: (resource: ResourceName, error: unknown) => void;
  /** An engine's thread is gone, and its sessions with it. `deaths` in a row; it is started again after that time. */
  readonly engineDied: (
    engine: number,
    why: {
      readonly error: unknown;
      readonly sessions: number;
      readonly deaths: number;
      readonly againInMs: number;
    },
  ) => void;
  /** A fault of ours: somebody should look at it. */
  readonly fault: (what: string, error: unknown) => void;
};

export type RefusedWhy =
  | 'too_many_handshakes'
  | 'too_many_failures'
  | 'tls_required'
  | 'handshake_failed'
  | 'wrong_password'
  | 'not_authorized'
  | 'target_failed'
  | 'journal_failed'
  | 'control_plane_away'
  | 'stopping';

const nothing = (): void => {};
export const silentEvents: GatewayEvents = {
  connectionRefused: nothing,
  sessionOpened: nothing,
  sessionEnded: nothing,
  journalFailed: nothing,
  shipFailed: nothing,
  controlPlaneLost: nothing,
  controlPlaneBack: nothing,
  targetFailed: nothing,
  engineDied: nothing,
  fault: nothing,
};
