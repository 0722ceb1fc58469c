/** The parts, in the order in which they are run. */
import { bulk, streaming } from './parts/bulk.ts';
import { connections, connectTime } from './parts/connections.ts';
import type { Part } from './parts/part.ts';
import { memory, revoke } from './parts/sessions.ts';
import { statements } from './parts/statements.ts';

export const parts: readonly Part[] = [statements, bulk, streaming, connections, connectTime, memory, revoke];
