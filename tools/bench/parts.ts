/** The parts, in the order in which they are run. */
import { decisions, journal, log } from './parts/alone.ts';
import { bulk, streaming } from './parts/bulk.ts';
import { connections, connectTime } from './parts/connections.ts';
import { held } from './parts/held.ts';
import type { Part } from './parts/part.ts';
import { profile } from './parts/profile.ts';
import { memory, revoke } from './parts/sessions.ts';
import { statements } from './parts/statements.ts';
import { pgbench, sustained } from './parts/whole.ts';

export const parts: readonly Part[] = [
  statements,
  sustained,
  pgbench,
  bulk,
  streaming,
  connections,
  connectTime,
  held,
  memory,
  revoke,
  journal,
  decisions,
  log,
  profile,
];
