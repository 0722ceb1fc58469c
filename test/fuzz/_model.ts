/**
 * A small server: the state machine of PostgreSQL's extended and simple protocol over a table of statements whose outcome is
 * known. It answers as the real one does, buffers until it must flush as the real one does, and remembers what it was made
 * to run. Put behind the gateway it is the target; fed directly, with what is refused made to fail, it says what a client
 * must see.
 */
import {
  encodeCommandComplete,
  encodeDataRow,
  encodeErrorResponse,
  encodeReadyForQuery,
  encodeRowDescription,
  type TransactionStatus,
} from '#wire/postgres/backend.ts';
import { headerLength, MessageReader, MessageWriter } from '#wire/postgres/bytes.ts';
import {
  decodeBind,
  decodeExecute,
  decodeFunctionCall,
  decodeParse,
  decodeQuery,
  decodeTarget,
} from '#wire/postgres/frontend.ts';
import { namesQuery } from '#sql/catalogue.ts';

type Command =
  | { readonly is: 'rows'; readonly rows: readonly (string | null)[] }
  | { readonly is: 'done'; readonly tag: string }
  | { readonly is: 'error'; readonly code: string }
  | { readonly is: 'begin' | 'commit' | 'rollback' | 'copy_out' | 'empty' | 'deallocate_all' }
  | { readonly is: 'copy_in' }
  | { readonly is: 'prepare'; readonly name: string; readonly text: string }
  | { readonly is: 'execute' | 'deallocate'; readonly name: string };

const ids = ['1', '2', '3', '4', '5'];
const commands: Readonly<Record<string, Command>> = {
  'select 1': { is: 'rows', rows: ['1'] },
  'select $1::text': { is: 'rows', rows: ['echo'] },
  'select id from public.orders': { is: 'rows', rows: ids },
  'select id from public.orders where id < $1': { is: 'rows', rows: ids },
  [`select repeat('x', 100000)`]: { is: 'rows', rows: ['x'.repeat(100_000)] },
  'select 1/0': { is: 'error', code: '22012' },
  'select * from public.nowhere': { is: 'error', code: '42P01' },
  'no sql at all': { is: 'error', code: '42601' },
  [`update public.orders set status = 'paid'`]: { is: 'done', tag: 'UPDATE 3' },
  begin: { is: 'begin' },
  commit: { is: 'commit' },
  rollback: { is: 'rollback' },
  'copy public.orders (id) from stdin': { is: 'copy_in' },
  'copy public.orders (id) to stdout': { is: 'copy_out' },
  'prepare pp as select 1': { is: 'prepare', name: 'pp', text: 'select 1' },
  'prepare pq as select id from public.orders': { is: 'prepare', name: 'pq', text: 'select id from public.orders' },
  'execute pp': { is: 'execute', name: 'pp' },
  'execute pq': { is: 'execute', name: 'pq' },
  'deallocate pp': { is: 'deallocate', name: 'pp' },
  'deallocate all': { is: 'deallocate_all' },
  [`set statement_timeout = '1min'`]: { is: 'done', tag: 'SET' },
  'set search_path = public': { is: 'done', tag: 'SET' },
};

/** What the fuzzer's role has no right to. The text must never arrive at the target. */
const readFile = `select pg_read_file('x')`;
export const forbidden = ['select email from customers', 'delete from public.orders', readFile];
export const knownTexts = [...Object.keys(commands), ''];

/** Functions by their oids: what each call is in the record, or that it is refused. */
const functions: ReadonlyMap<number, string | undefined> = new Map([
  // upper(text)
  [871, 'select "pg_catalog"."upper"($1)'],
  // pg_read_file(text)
  [3826, undefined],
]);
export const knownFunctions = [...functions.keys()];

export type Executed = { readonly protocol: 'simple' | 'extended' | 'function'; readonly text: string };

type Portal = { readonly text: string; at: number; isDone: boolean };

export class BrokenMessage extends Error {}

export class Model {
  readonly #isRefused: (text: string) => boolean;
  readonly #names: readonly [path: string, user: string];
  readonly #statements = new Map<string, string>();
  readonly #portals = new Map<string, Portal>();
  #status: TransactionStatus = 'I';
  #isSkipping = false;
  #copy: { readonly rest: readonly string[] | undefined; rows: number } | undefined;
  #out: Buffer[] = [];
  #isFlushed = false;
  readonly executed: Executed[] = [];
  /** Every text that it was told, run or not. */
  readonly told: string[] = [];
  hasLeft = false;

  constructor(options: { readonly isRefused?: (text: string) => boolean; readonly user?: string } = {}) {
    this.#isRefused = options.isRefused ?? (() => false);
    this.#names = ['["pg_catalog","public"]', options.user ?? ''];
  }

  /** Takes one whole message; what the server would have sent by now. */
  receive(type: number, frame: Buffer): Buffer {
    try {
      this.#message(String.fromCharCode(type), new MessageReader(frame, headerLength));
    } catch (error) {
      throw new BrokenMessage(`message \`${String.fromCharCode(type)}\`: ${(error as Error).message}`);
    }
    if (!this.#isFlushed) return Buffer.alloc(0);
    this.#isFlushed = false;
    const out = Buffer.concat(this.#out);
    this.#out = [];
    return out;
  }

  get isInCopy(): boolean {
    return this.#copy !== undefined;
  }

  #send(...messages: readonly Buffer[]): void {
    this.#out.push(...messages);
  }

  #message(type: string, body: MessageReader): void {
    if (this.#copy !== undefined) return this.#copyMessage(type, body);
    if (this.#isSkipping && type !== 'S' && type !== 'X') return;
    switch (type) {
      case 'Q':
        return this.#query(decodeQuery(body));
      case 'P': {
        const { statement, text } = decodeParse(body);
        this.told.push(text);
        if (statement === '') this.#statements.delete('');
        const isKnown = statement !== '' && this.#statements.has(statement);
        // The server says so last, the gateway first.
        if (isKnown) return this.#fail('42P05');
        if (this.#isRefused(text)) return this.#fail('42501');
        const command = this.#command(text);
        if (command.is === 'error' && command.code.startsWith('42')) return this.#fail(command.code);
        if (this.#isAborted(command)) return this.#fail('25P02');
        this.#statements.set(statement, text);
        return this.#send(bare('1'));
      }
      case 'B': {
        const { portal, statement } = decodeBind(body, { prefix: false });
        const text = this.#statements.get(statement);
        if (text === undefined) return this.#fail('26000');
        if (this.#isAborted(this.#command(text))) return this.#fail('25P02');
        if (portal !== '' && this.#portals.has(portal)) return this.#fail('42P03');
        this.#portals.set(portal, { text, at: 0, isDone: false });
        return this.#send(bare('2'));
      }
      case 'D': {
        const { on, name } = decodeTarget(body);
        const text = on === 'statement' ? this.#statements.get(name) : this.#portals.get(name)?.text;
        if (text === undefined) return this.#fail(on === 'statement' ? '26000' : '34000');
        const command = this.#resolved(this.#command(text));
        if (this.#isAborted(command) && command.is === 'rows') return this.#fail('25P02');
        if (on === 'statement') this.#send(parameterDescription(text.includes('$1') ? 1 : 0));
        return this.#send(command.is === 'rows' ? encodeRowDescription([{ name: 'x', type: 25 }]) : bare('n'));
      }
      case 'E':
        return this.#execute(decodeExecute(body));
      case 'C': {
        const { on, name } = decodeTarget(body);
        (on === 'statement' ? this.#statements : this.#portals).delete(name);
        return this.#send(bare('3'));
      }
      case 'F': {
        const { function: oid, values } = decodeFunctionCall(body);
        const text = functions.get(oid);
        if (!functions.has(oid)) return this.#failQuery('42883');
        if (text === undefined) {
          this.told.push(readFile);
          return this.#failQuery('42501');
        }
        this.executed.push({ protocol: 'function', text });
        if (this.#status === 'E') return this.#failQuery('25P02');
        this.#send(
          new MessageWriter()
            .begin('V')
            .int32(values[0]?.length ?? -1)
            .bytes(values[0] ?? Buffer.alloc(0))
            .finish()
            .toBuffer(),
        );
        return this.#endOfQuery();
      }
      case 'S':
        body.end();
        this.#isSkipping = false;
        if (this.#status === 'I') this.#portals.clear();
        return this.#ready();
      case 'H':
        body.end();
        this.#isFlushed = true;
        return undefined;
      case 'X':
        body.end();
        this.hasLeft = true;
        return undefined;
      case 'd':
      case 'c':
      case 'f':
        return undefined;
      default:
        throw new Error('unknown type');
    }
  }

  #command(text: string): Command {
    const known = commands[text];
    if (known !== undefined) return known;
    if (/^\s*(?:--.*)?$/.test(text)) return { is: 'empty' };
    return { is: 'error', code: '42601' };
  }

  /** What `execute` of a prepared statement is. */
  #resolved(command: Command): Command {
    if (command.is !== 'execute') return command;
    const text = this.#statements.get(command.name);
    return text === undefined ? { is: 'error', code: '26000' } : this.#command(text);
  }

  #isAborted(command: Command): boolean {
    return this.#status === 'E' && command.is !== 'commit' && command.is !== 'rollback' && command.is !== 'empty';
  }

  #query(text: string): void {
    this.told.push(text);
    this.#statements.delete('');
    this.#portals.delete('');
    if (text === namesQuery) {
      if (this.#status === 'E') this.#send(errorOf('25P02'));
      else {
        this.#send(
          encodeRowDescription([
            { name: 'array_to_json', type: 25 },
            { name: 'current_user', type: 25 },
          ]),
          encodeDataRow(this.#names),
          encodeCommandComplete('SELECT 1'),
        );
      }
      return this.#endOfQuery();
    }
    const texts = text
      .split(';')
      .map((one) => one.trim())
      .filter((one) => one !== '');
    // The whole string is parsed before anything of it runs.
    if (texts.some((one) => this.#isUnparsable(one))) return this.#failQuery('42601');
    if (texts.some((one) => this.#isRefused(one))) return this.#failQuery('42501');
    this.executed.push({ protocol: 'simple', text });
    if (texts.length === 0) {
      this.#send(bare('I'));
      return this.#endOfQuery();
    }
    this.#runTexts(texts);
  }

  #isUnparsable(text: string): boolean {
    const command = this.#command(text);
    return command.is === 'error' && command.code === '42601' && !this.#isRefused(text);
  }

  #failQuery(code: string): void {
    this.#send(errorOf(code));
    if (this.#status === 'T') this.#status = 'E';
    this.#endOfQuery();
  }

  #runTexts(texts: readonly string[]): void {
    const [text, ...rest] = texts;
    if (text === undefined) return this.#endOfQuery();
    const command = this.#resolved(this.#command(text));
    if (this.#isAborted(command)) return this.#failQuery('25P02');
    switch (command.is) {
      case 'error':
        return this.#failQuery(command.code);
      case 'copy_in':
        this.#copy = { rest, rows: 0 };
        this.#send(copyResponse('G'));
        this.#isFlushed = true;
        return undefined;
      case 'rows':
        this.#send(
          encodeRowDescription([{ name: 'x', type: 25 }]),
          ...command.rows.map((row) => encodeDataRow([row])),
          encodeCommandComplete(`SELECT ${command.rows.length}`),
        );
        return this.#runTexts(rest);
      default: {
        const failure = this.#effect(command);
        if (failure !== undefined) return this.#failQuery(failure);
        return this.#runTexts(rest);
      }
    }
  }

  /** All that has no rows. The SQLSTATE when it fails. */
  #effect(command: Exclude<Command, { is: 'rows' | 'error' | 'copy_in' }>): string | undefined {
    switch (command.is) {
      case 'done':
        this.#send(encodeCommandComplete(command.tag));
        return undefined;
      case 'begin':
        if (this.#status === 'I') this.#status = 'T';
        this.#send(encodeCommandComplete('BEGIN'));
        return undefined;
      case 'commit':
      case 'rollback':
        this.#send(encodeCommandComplete(command.is === 'commit' && this.#status !== 'E' ? 'COMMIT' : 'ROLLBACK'));
        this.#status = 'I';
        this.#portals.clear();
        return undefined;
      case 'copy_out':
        this.#send(copyResponse('H'), data('1\n'), data('2\n'), bare('c'), encodeCommandComplete('COPY 2'));
        return undefined;
      case 'empty':
        this.#send(bare('I'));
        return undefined;
      case 'prepare':
        if (this.#statements.has(command.name)) return '42P05';
        this.#statements.set(command.name, command.text);
        this.#send(encodeCommandComplete('PREPARE'));
        return undefined;
      case 'deallocate':
        if (!this.#statements.delete(command.name)) return '26000';
        this.#send(encodeCommandComplete('DEALLOCATE'));
        return undefined;
      case 'deallocate_all':
        this.#statements.clear();
        this.#send(encodeCommandComplete('DEALLOCATE ALL'));
        return undefined;
      case 'execute':
        return '26000';
      default:
        return command satisfies never;
    }
  }

  #endOfQuery(): void {
    if (this.#status === 'I') this.#portals.clear();
    this.#ready();
  }

  #execute({ portal: name, maxRows }: { readonly portal: string; readonly maxRows: number }): void {
    const portal = this.#portals.get(name);
    if (portal === undefined) return this.#fail('34000');
    if (this.#isRefused(portal.text)) return this.#fail('42501');
    this.executed.push({ protocol: 'extended', text: portal.text });
    const command = this.#resolved(this.#command(portal.text));
    if (this.#isAborted(command)) return this.#fail('25P02');
    if (command.is === 'rows') {
      const left = command.rows.slice(portal.at);
      const rows = maxRows > 0 ? left.slice(0, maxRows) : left;
      portal.at += rows.length;
      this.#send(...rows.map((row) => encodeDataRow([row])));
      const isSuspended = maxRows > 0 && rows.length === maxRows;
      return this.#send(isSuspended ? bare('s') : encodeCommandComplete(`SELECT ${rows.length}`));
    }
    if (portal.isDone && command.is !== 'empty') return this.#fail('55000');
    portal.isDone = true;
    if (command.is === 'error') return this.#fail(command.code);
    if (command.is === 'copy_in') {
      this.#copy = { rest: undefined, rows: 0 };
      this.#send(copyResponse('G'));
      this.#isFlushed = true;
      return;
    }
    const failure = this.#effect(command);
    if (failure !== undefined) this.#fail(failure);
  }

  #copyMessage(type: string, body: MessageReader): void {
    const copy = this.#copy;
    if (copy === undefined) return;
    switch (type) {
      case 'd':
        copy.rows += 1;
        return;
      case 'c':
        this.#copy = undefined;
        this.#send(encodeCommandComplete(`COPY ${copy.rows}`));
        if (copy.rest !== undefined) this.#runTexts(copy.rest);
        return;
      case 'H':
      case 'S':
        return;
      case 'X':
        body.end();
        this.hasLeft = true;
        return;
      default:
        this.#copy = undefined;
        if (copy.rest === undefined) this.#fail(type === 'f' ? '57014' : '08P01');
        else this.#failQuery(type === 'f' ? '57014' : '08P01');
    }
  }

  /** An error in the extended protocol. */
  #fail(code: string): void {
    this.#send(errorOf(code));
    this.#isFlushed = true;
    this.#isSkipping = true;
    if (this.#status === 'T') this.#status = 'E';
  }

  #ready(): void {
    this.#send(encodeReadyForQuery(this.#status));
    this.#isFlushed = true;
  }
}

const bare = (type: string): Buffer => new MessageWriter(headerLength).begin(type).finish().toBuffer();
const data = (text: string): Buffer => new MessageWriter().begin('d').bytes(Buffer.from(text)).finish().toBuffer();
const copyResponse = (type: 'G' | 'H'): Buffer =>
  new MessageWriter().begin(type).uint8(0).uint16(1).uint16(0).finish().toBuffer();
const errorOf = (sqlState: string): Buffer =>
  encodeErrorResponse({ severity: 'ERROR', sqlState, message: 'the model says no' });

function parameterDescription(count: number): Buffer {
  const writer = new MessageWriter().begin('t').uint16(count);
  for (let i = 0; i < count; i += 1) writer.int32(25);
  return writer.finish().toBuffer();
}
