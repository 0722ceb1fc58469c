/**
 * A second connection of a session to its target, under its own login and role, for questions of ours about a statement: how
 * many rows the planner expects, what the rows are that it has changed. All that is asked there is read-only, bounded in
 * time, and rolled back; what can't be had is left out. It is opened when it is first needed, and closed with the session or
 * when nothing was asked for a while.
 */
import { frameLengthAt, headerLength, MessageReader, MessageWriter } from '#wire/postgres/bytes.ts';
import { backend, decodeDataRow, decodeErrorFields } from '#wire/postgres/backend.ts';
import { encodeExecute, encodeParse, encodeQuery, encodeSync } from '#wire/postgres/frontend.ts';
import type { Endpoint } from './endpoint.ts';
import type { RawParameters } from './statement-digest.ts';

export type SideConnection = {
  /**
   * Rows of the first column set, as text, of a statement run in a read-only transaction of its own. Throws on any error, and
   * when `withinMs` have passed.
   */
  readonly ask: (
    text: string,
    options: {
      readonly parameters?: RawParameters;
      readonly searchPath?: readonly string[];
      readonly withinMs: number;
    },
  ) => Promise<readonly (readonly (string | null)[])[]>;
  readonly close: () => void;
};

const idleMs = 30_000;
const maxAnswer = 4 << 20;

/** @param dial a connection that is signed in, opened read-only */
export function createSideConnection(
  dial: (signal: AbortSignal) => Promise<{ readonly endpoint: Endpoint }>,
): SideConnection {
  let open: Promise<Endpoint> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let idle: NodeJS.Timeout | undefined;
  let isClosed = false;

  const close = () => {
    clearTimeout(idle);
    const closing = open;
    open = undefined;
    closing?.then(
      (endpoint) => endpoint.destroy(),
      () => {},
    );
  };

  const run = async (...[text, options]: Parameters<SideConnection['ask']>) => {
    const signal = AbortSignal.timeout(options.withinMs);
    clearTimeout(idle);
    if (isClosed) throw new Error('ask beside a session: it is over');
    try {
      open ??= dial(signal).then(({ endpoint }) => endpoint);
      const endpoint = await open;
      if (isClosed) throw new Error('ask beside a session: it is over');
      const path = (options.searchPath ?? []).map((schema) => `"${schema.replaceAll('"', '""')}"`).join(', ');
      const literal = path.replaceAll("'", "''");
      const begin = `begin read only; set local statement_timeout = ${Math.ceil(options.withinMs)}${
        path === '' ? '' : `; select pg_catalog.set_config('search_path', '${literal}', true)`
      }`;
      const { parameters = { formats: [], values: [], types: [] } } = options;
      const answers = await exchange(
        endpoint,
        [
          [encodeQuery(begin)],
          [
            encodeParse({ statement: '', text, parameterTypes: parameters.types }),
            encodeRawBind(parameters),
            encodeExecute({ portal: '', maxRows: 0 }),
            encodeSync(),
          ],
          [encodeQuery('rollback')],
        ],
        signal,
      );
      idle = setTimeout(close, idleMs).unref();
      return answers[1] ?? [];
    } catch (error) {
      close();
      throw error;
    }
  };

  return {
    ask(text, options) {
      const asked = last.then(() => run(text, options));
      last = asked.catch(() => {});
      return asked;
    },
    close() {
      isClosed = true;
      close();
    },
  };
}

/** The rows of each of the batches, of which each ends with ReadyForQuery. */
function exchange(
  endpoint: Endpoint,
  batches: readonly (readonly Buffer[])[],
  signal: AbortSignal,
): Promise<(string | null)[][][]> {
  return new Promise((resolve, reject) => {
    const answers: (string | null)[][][] = [];
    let rows: (string | null)[][] = [];
    let failure: Error | undefined;
    let pending: Buffer = Buffer.alloc(0);
    let taken = 0;
    const onAbort = () => reject(new Error('ask beside a session: no answer in time'));
    const done = () => {
      signal.removeEventListener('abort', onAbort);
      if (failure === undefined) resolve(answers);
      else reject(failure);
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    const message = (type: number, body: MessageReader) => {
      if (type === backend.dataRow) rows.push(decodeDataRow(body).map((value) => value?.toString('utf8') ?? null));
      else if (type === backend.errorResponse)
        failure ??= new Error(`ask beside a session: ${decodeErrorFields(body).get('M') ?? ''}`);
      else if (type === backend.readyForQuery) {
        answers.push(rows);
        rows = [];
        if (answers.length === batches.length) done();
      }
    };
    endpoint.handle({
      chunk: (chunk, length) => {
        pending = Buffer.concat([pending, chunk.subarray(0, length)]);
        taken += length;
        try {
          if (taken > maxAnswer) throw new Error('ask beside a session: the answer is too long');
          let at = 0;
          while (pending.length - at >= headerLength) {
            const size = frameLengthAt(pending, at);
            if (pending.length - at < size) break;
            message(pending[at] ?? 0, new MessageReader(pending, at + headerLength, at + size));
            at += size;
          }
          pending = Buffer.from(pending.subarray(at));
        } catch (error) {
          reject(error as Error);
          return false;
        }
        return true;
      },
      closed: () => reject(new Error('ask beside a session: the target has closed the connection')),
      drained: () => {},
    });
    endpoint.write(Buffer.concat(batches.flat()));
  });
}

/** As they came, in their own formats; results in text format. */
function encodeRawBind({ formats, values }: RawParameters): Buffer {
  const writer = new MessageWriter().begin('B').cstring('').cstring('').uint16(formats.length);
  for (const format of formats) writer.uint16(format);
  writer.uint16(values.length);
  for (const value of values) {
    writer.int32(value?.length ?? -1);
    if (value !== null) writer.bytes(value);
  }
  return writer.uint16(0).finish().toBuffer();
}
