/**
 * A run that may be taken back: the statement runs on the target, its answer is withheld from the client, and only when
 * somebody or a condition has said that it stays does the transaction go on. Nothing of ours begins or commits: in the
 * extended protocol the server commits at Sync, so Execute goes out with a Flush and the Sync waits. A simple query is sent
 * as the same messages; within the client's own transaction the end is the client's in any case. To take it back the server
 * is made to fail, as for every refusal: so the transaction is aborted, and what the statement did goes with it.
 *
 *     wanted ─► running ─► ran ─► kept (withheld answer, then Sync)
 *                  │         └──► taken back (our error, the server fails)
 *                  └─► failed by itself (the server's error)
 *
 * The session ends, the client goes, the engine dies: no Sync was sent, and the server rolls back by itself.
 */
import type { PgAction, StatementAnalysis } from '#sql/needs.ts';
import type { HoldPreview } from '../control-plane.ts';
import type { Run } from './exchange.ts';
import { currentBook, hasOwnDefinitions, type Link } from './link.ts';

export type Ran =
  | { readonly kind: 'ran'; readonly tag: string; readonly rows: number; readonly isTooMuch: boolean }
  | { readonly kind: 'failed' };

/** What the client is to get if it stays. */
export type Withheld = {
  readonly run: Run;
  readonly bytes: Buffer[];
  length: number;
  readonly done: (ran: Ran) => void;
};

/** A longer answer isn't kept. */
export const maxWithheld = 1 << 20;

const changes: readonly PgAction[] = ['insert', 'update', 'delete'];
const changesRows = /^(?:INSERT|UPDATE|DELETE|MERGE)$/;

/** Completes "it can not be taken back: …". Undefined: it can. */
export function whyNotTakenBack(statements: readonly StatementAnalysis[]): string | undefined {
  const [statement] = statements;
  if (statement === undefined || statements.length > 1) return 'there are several statements in one string';
  if (!changesRows.test(statement.tag) || statement.executes !== undefined)
    return 'only a plain insert, update, delete or merge can be';
  if (statement.needs.some(({ action }) => action !== 'select' && !changes.includes(action)))
    return 'it does more than change rows, which nobody can undo';
  const changed = changedTables(statement);
  if (changed.size !== 1) return 'it changes several tables, and the server counts the rows of one';
  return undefined;
}

function changedTables(statement: Pick<StatementAnalysis, 'needs'>): Set<string> {
  return new Set(
    statement.needs.flatMap(({ action, object }) =>
      changes.includes(action) && object.kind === 'table' ? [quoted(object)] : [],
    ),
  );
}

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const quoted = ({ schema, name }: { readonly schema: string; readonly name: string }): string =>
  `${quote(schema)}.${quote(name)}`;
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

export const sampleRows = 20;
const withinMs = 2000;
/** Of 8 KiB: to look for the rows takes a moment, and locks are held. */
const maxPages = 12_800;

export type SampleOf = {
  readonly table: string;
  readonly columns: readonly string[];
  /** For the transaction's own eyes. */
  readonly after: string;
};

/**
 * What the rows were, as everybody else still sees them, and what else is to be known. The rows are found by the transaction
 * that has them locked or replaced; a role that may not see the whole table sees none (system columns are for those alone).
 */
export async function sampleBefore(
  link: Link,
  needs: StatementAnalysis['needs'],
  functions: readonly string[],
): Promise<{ readonly before: HoldPreview['before']; readonly of: SampleOf | undefined; readonly notes: string[] }> {
  const notes: string[] = [];
  if (functions.some((name) => name.endsWith('nextval'))) notes.push('sequences do not go back');
  const [table] = changedTables({ needs });
  if (table === undefined || link.side === undefined) return { before: [], of: undefined, notes };
  try {
    const oid = `${literal(table)}::pg_catalog.regclass`;
    const [about] = await link.side.ask(
      `select c.relkind, c.relpages, pg_catalog.has_table_privilege(c.oid, 'select'),
        (select pg_catalog.json_agg(a.attname order by a.attnum) from pg_catalog.pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
        exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal),
        exists (select from pg_catalog.pg_constraint f where f.confrelid = c.oid and f.contype = 'f'
          and (f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd')))
      from pg_catalog.pg_class c where c.oid = ${oid}`,
      { withinMs },
    );
    const [kind, pages, seesAll, names, hasTriggers, hasCascades] = about ?? [];
    if (hasTriggers === 't') notes.push('triggers of the table run with it, and what they do elsewhere is not shown');
    if (hasCascades === 't')
      notes.push('rows of other tables that refer to these may change with them, and are not counted');
    const columns = JSON.parse(names ?? '[]') as readonly string[];
    if (kind !== 'r' || seesAll !== 't' || columns.length === 0) {
      notes.push('no rows are shown: the role does not see all of the table, or it is no plain table');
      return { before: [], of: undefined, notes };
    }
    if (Number(pages) > maxPages) {
      notes.push('no rows are shown: the table is too large to look for them while they are locked');
      return { before: [], of: undefined, notes };
    }
    const list = columns.map((column) => `${quote(column)}::pg_catalog.text`).join(', ');
    // INVARIANT 7: the target's privileges are as wide as the role; what policy lets be read may be less.
    const { asked } = link.names;
    const text = `select ${columns.map(quote).join(', ')} from ${table}`;
    const book = hasOwnDefinitions(asked) ? currentBook(link) : undefined;
    const read = await link.judge.judge({ session: link.session, names: asked, book, text, prepared: () => [] });
    if (read.kind !== 'allow') {
      notes.push('no rows are shown: policy does not let all of the table be read');
      return { before: [], of: undefined, notes };
    }
    const before = await link.side.ask(
      `select ${list} from ${table} where xmax = (select backend_xid from pg_catalog.pg_stat_activity where pid = ${link.backend}) limit ${sampleRows}`,
      { withinMs },
    );
    const after = `select ${list} from ${table} where xmin = pg_catalog.pg_current_xact_id()::pg_catalog.xid limit ${sampleRows}`;
    return { before, of: { table, columns, after }, notes };
  } catch {
    notes.push('no rows are shown: they could not be read in time');
    return { before: [], of: undefined, notes };
  }
}
