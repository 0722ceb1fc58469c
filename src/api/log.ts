/** The log: entries, receipts, the latest checkpoint, and a copy of all of it. */
import { exportLog } from '#app/export-log.ts';
import { proveEntry } from '#app/prove-entry.ts';
import { readLog, type LogAsk } from '#app/read-log.ts';
import { latestCheckpoint } from '#app/sequence-log.ts';
import { encodeBase64 } from '#core/base64.ts';
import type { EntryId, GrantId, PrincipalId, RequestId, SessionId } from '#core/ids.ts';
import { parseInstant } from '#core/instant.ts';
import { refused } from '#app/context.ts';
import { refuse } from './errors.ts';
import { map, type Handlers } from './handler.ts';
import { presentEntry, presentPage } from './present.ts';

// The contract's schemas have checked the form of ids; `as` says so to the compiler.
export const logHandlers: Pick<Handlers, 'listLog' | 'proveEntry' | 'logCheckpoint' | 'exportLog'> = {
  listLog: async ({ app, caller, query }) => {
    const { scope, order, limit, cursor, kind, grant, session, request, principal } = query;
    const since = parseInstant(query.since);
    const ask: LogAsk = {
      scope,
      order,
      limit,
      ...(cursor === undefined ? {} : { cursor }),
      ...(kind === undefined ? {} : { kind }),
      ...(grant === undefined ? {} : { grant: grant as GrantId }),
      ...(session === undefined ? {} : { session: session as SessionId }),
      ...(request === undefined ? {} : { request: request as RequestId }),
      ...(principal === undefined ? {} : { principal: principal as PrincipalId }),
      ...(since === undefined ? {} : { since }),
    };
    return map(await readLog(app, caller, ask), (page) => presentPage(page, presentEntry));
  },

  proveEntry: async ({ app, caller, params }) =>
    map(await proveEntry(app, caller, params.id as EntryId), (receipt) => ({ ...receipt })),

  logCheckpoint: async ({ app }) => {
    const checkpoint = await latestCheckpoint(app, app.db);
    if (checkpoint === undefined)
      throw refuse('unavailable', 'the log has no checkpoint yet', { hint: 'try again in a moment' });
    return { kind: 'done', value: checkpoint.note };
  },

  exportLog: async (call) => {
    const { app, caller } = call;
    // A copy holds a snapshot of the store for as long as it takes: one for each person at a time.
    const place = call.exports.enter(caller.principal.id);
    if (place === undefined)
      return refused('too_many_tries', 'export the log: another export is running', 'wait for it to end');
    let isStarted = false;
    try {
      const outcome = await exportLog(app, caller);
      if (outcome.kind === 'refused') return outcome;
      const lines = new TransformStream<Uint8Array, Uint8Array>();
      isStarted = true;
      void writeLines(outcome.value.write, lines.writable, call).finally(() => place[Symbol.dispose]());
      return { kind: 'stream', body: lines.readable };
    } finally {
      if (!isStarted) place[Symbol.dispose]();
    }
  },
};

/** Each write waits until the client has taken it: a slow reader slows the export, and fills no memory. */
async function writeLines(
  write: (sink: { readonly write: (path: string, bytes: Uint8Array) => Promise<void> }) => Promise<unknown>,
  to: WritableStream<Uint8Array>,
  call: { readonly signal: AbortSignal; readonly cut: (fault: unknown) => void },
): Promise<void> {
  const writer = to.getWriter();
  // Whoever pulls at the other end may have stopped without a word.
  const leave = () => void writer.abort().catch(() => undefined);
  call.signal.addEventListener('abort', leave);
  const encoder = new TextEncoder();
  const line = async (value: object) => {
    await writer.ready;
    await writer.write(encoder.encode(`${JSON.stringify(value)}\n`));
  };
  try {
    await write({
      write: async (path, bytes) => {
        call.signal.throwIfAborted();
        await line({ path, data: encodeBase64(bytes) });
      },
    });
    await line({ done: true });
  } catch (fault) {
    // Without its last line, and with the connection cut: nobody can take half a copy for a whole one.
    call.cut(call.signal.aborted ? undefined : fault);
  }
  call.signal.removeEventListener('abort', leave);
  await writer.close().catch(() => undefined);
}
