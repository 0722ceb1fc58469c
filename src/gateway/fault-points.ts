/**
 * Where the process may die: every step of opening and of ending a session. `test/faults/fault-points.test.ts` walks this
 * table, kills the process exactly there, and looks at what is left. Outside of tests nothing here does anything.
 */
import { readFileSync, rmSync } from 'node:fs';
import type { ControlPlane } from './control-plane.ts';
import type { JournalDisk } from './journal-disk.ts';

/** What has just happened, in the order in which it happens. */
export const faultPoints = {
  socket_accepted: 'a client has connected',
  credential_found: 'its user name is known',
  password_proven: 'the client has proven its password',
  session_committed: 'the control plane has let it in; row and entry are committed',
  supervisor_admitted: 'the supervisor has the session',
  role_converged: 'the database role is what is declared',
  login_half_made: 'the login is made in a transaction that is still open',
  login_created: 'the login is committed',
  target_dialled: 'the target has taken the connection',
  target_signed_in: 'the target has taken the login, which makes it the role',
  client_told_ready: 'the client may send',
  statement_recorded: 'a statement is in the journal; nothing of it has left',
  outcome_about_to_be_recorded: 'the target has done it, and its outcome is not written down',
  outcome_recorded: 'the outcome is in the journal; the client has not heard',
  marked: 'a grant has ended: nothing more is forwarded',
  cancel_sent: 'the target was asked to cancel',
  end_recorded: 'the end of the session is in the journal',
  client_told: 'the client was told why',
  sockets_closed: 'the connection to the target is closed',
  login_locked: 'the login can not log in any more, and is still there',
  login_dropped: 'the login is gone; its record is not written down',
  journal_synced: 'the journal is on the disk',
  records_shipping: 'records are about to be sent',
  records_stored: 'records are stored; the gateway has not heard',
} as const;

export type FaultPoint = keyof typeof faultPoints;
export type Reached = (point: FaultPoint) => void;

/** @param file names the point where to die; read each time, so that a test arms it when it likes */
export function dieAt(file: string): Reached {
  return (point) => {
    let armed: string;
    try {
      armed = readFileSync(file, 'utf8').trim();
    } catch {
      return;
    }
    // The whole process with all its threads; no handler, no buffer, no good-bye.
    if (armed === point) process.kill(process.pid, 'SIGKILL');
  };
}

/** The points that lie at the border to the control plane. */
export function controlPlaneWithPoints(controlPlane: ControlPlane, reached: Reached): ControlPlane {
  return {
    ...controlPlane,
    async findCredential(userName) {
      const found = await controlPlane.findCredential(userName);
      if (found !== undefined) reached('credential_found');
      return found;
    },
    async openSession(ask) {
      const answer = await controlPlane.openSession(ask);
      if (answer.kind === 'opened') reached('session_committed');
      return answer;
    },
    async ship(gatewayId, batch) {
      reached('records_shipping');
      const answer = await controlPlane.ship(gatewayId, batch);
      reached('records_stored');
      return answer;
    },
  };
}

/** The points that lie at the border to the disk. */
export function diskWithPoints(disk: JournalDisk, reached: Reached): JournalDisk {
  return {
    ...disk,
    open(name) {
      const file = disk.open(name);
      return {
        ...file,
        append(bytes, from, length) {
          const written = bytes.subarray(from, from + length);
          const holds = (kind: string) => written.includes(`"kind":"${kind}"`);
          if (holds('statement.ended')) reached('outcome_about_to_be_recorded');
          const count = file.append(bytes, from, length);
          if (holds('statement.begun')) reached('statement_recorded');
          if (holds('statement.ended')) reached('outcome_recorded');
          if (holds('session.ended')) reached('end_recorded');
          return count;
        },
        async sync() {
          await file.sync();
          reached('journal_synced');
        },
      };
    },
  };
}

/**
 * For an engine in a thread: what is armed is the point and how it ends, `statement_recorded throws`. It happens once, to
 * whichever engine comes there first; the file is removed.
 *
 * @param file as of `dieAt`, which is still obeyed
 */
export function breakAt(file: string): Reached {
  const die = dieAt(file);
  return (point) => {
    die(point);
    let armed: string;
    try {
      armed = readFileSync(file, 'utf8').trim();
      if (!armed.startsWith(`${point} `)) return;
      rmSync(file);
    } catch {
      return;
    }
    switch (armed.slice(point.length + 1)) {
      case 'throws':
        setImmediate(() => {
          throw new Error('thrown by a test');
        });
        return;
      case 'hangs':
        for (;;);
      default:
        throw new Error(`break at a point: \`${armed}\` says no way`);
    }
  };
}
