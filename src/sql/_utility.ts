/** Walks one statement of any kind. What isn't a query is here; what isn't here is undecidable. */
import type {
  CopyStmt,
  CreateTableAsStmt,
  DefElem,
  ExecuteStmt,
  LockStmt,
  Node,
  TransactionStmt,
  VariableSetStmt,
} from '@pgsql/types';
import { walkCall, walkExpression, walkExpressions } from './_expression.ts';
import { targetItem, targetRelation } from './_from.ts';
import { walkDelete, walkInsert, walkMerge, walkUpdate } from './_modify.ts';
import type { Place } from './_place.ts';
import type { Output } from './_scope.ts';
import { walkSelect } from './_select.ts';
import { judgeSetting } from './_settings.ts';
import { dangerous, definitions } from './_statements.ts';
import { as, kindOf, onlyKnown, strings, Undecidable } from './_tree.ts';
import type { StatementClass, TransactionControl } from './needs.ts';

/** What is known of a statement besides its needs. */
export type Walked = {
  readonly tag: string;
  /** Undefined: by its needs. */
  readonly class?: StatementClass;
  readonly copy?: 'in' | 'out';
  readonly endsTransaction?: boolean;
  readonly transaction?: TransactionControl;
  /** The name of the statement that `prepare` makes. */
  readonly prepares?: string;
  readonly deallocates?: { readonly name: string } | 'all';
  /** The name of the statement that `execute` runs. */
  readonly executes?: string;
  /** The name of the cursor that `declare` makes. */
  readonly declares?: string;
  /** The name of the cursor that `fetch` and `move` run. */
  readonly fetches?: string;
};

/** The text of a prepared statement by its name, parsed again; the analysis provides it. */
export type Prepared = (name: string) => Node | undefined;

/** Any query, as it may stand in another statement. */
export function walkQuery(node: Node, place: Place): Output {
  const kind = kindOf(node);
  switch (kind) {
    case 'SelectStmt':
      return walkSelect(as(node, kind) ?? {}, place);
    case 'InsertStmt':
      return walkInsert(as(node, kind) ?? {}, place);
    case 'UpdateStmt':
      return walkUpdate(as(node, kind) ?? {}, place);
    case 'DeleteStmt':
      return walkDelete(as(node, kind) ?? {}, place);
    case 'MergeStmt':
      return walkMerge(as(node, kind) ?? {}, place);
    default:
      throw new Undecidable(`it contains a ${kind}, which is not known here`);
  }
}

/** The tag, as far as it is known without a walk. */
export function tagOf(node: Node | undefined): string {
  const kind = node === undefined ? undefined : kindOf(node);
  if (kind === undefined) return '';
  return tags[kind] ?? definitions[kind] ?? dangerous[kind]?.[0] ?? '';
}

const tags: Readonly<Partial<Record<string, string>>> = {
  SelectStmt: 'SELECT',
  InsertStmt: 'INSERT',
  UpdateStmt: 'UPDATE',
  DeleteStmt: 'DELETE',
  MergeStmt: 'MERGE',
  CopyStmt: 'COPY',
  TruncateStmt: 'TRUNCATE TABLE',
  CallStmt: 'CALL',
  VariableSetStmt: 'SET',
  VariableShowStmt: 'SHOW',
  TransactionStmt: 'BEGIN',
  PrepareStmt: 'PREPARE',
  ExecuteStmt: 'EXECUTE',
  DeallocateStmt: 'DEALLOCATE',
  DeclareCursorStmt: 'DECLARE CURSOR',
  ExplainStmt: 'EXPLAIN',
  LockStmt: 'LOCK TABLE',
  CreateTableAsStmt: 'SELECT',
  ViewStmt: 'CREATE VIEW',
  ListenStmt: 'LISTEN',
  NotifyStmt: 'NOTIFY',
  UnlistenStmt: 'UNLISTEN',
};

export function walkStatement(node: Node, place: Place, prepared: Prepared): Walked {
  const kind = kindOf(node);
  if (kind === undefined) throw new Undecidable('it is empty in a way that is not known here');
  const { collector } = place.walk;
  const tag = tagOf(node);
  switch (kind) {
    case 'SelectStmt': {
      const select = as(node, kind) ?? {};
      walkQuery(node, place);
      if (select.intoClause !== undefined) collector.changesNames();
      return { tag };
    }
    case 'InsertStmt':
    case 'MergeStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
      walkQuery(node, place);
      return { tag };
    case 'CopyStmt':
      return walkCopy(as(node, kind) ?? {}, place);
    case 'TruncateStmt': {
      const truncate = as(node, kind) ?? {};
      onlyKnown('truncate', truncate, ['relations', 'restart_seqs', 'behavior']);
      for (const range of truncate.relations ?? []) {
        collector.onTable('truncate', targetRelation(as(range, 'RangeVar'), place), []);
      }
      if (truncate.behavior === 'DROP_CASCADE') {
        throw new Undecidable('`cascade` truncates tables that it does not name');
      }
      return { tag };
    }
    case 'LockStmt':
      return walkLock(as(node, kind) ?? {}, place);
    case 'CallStmt': {
      const call = as(node, kind) ?? {};
      onlyKnown('call', call, ['funccall']);
      walkCall(call.funccall ?? {}, place);
      return { tag };
    }
    case 'ExplainStmt': {
      const explain = as(node, kind) ?? {};
      onlyKnown('explain', explain, ['query', 'options']);
      if (explain.query === undefined) throw new Undecidable('it explains nothing');
      const inner = walkStatement(explain.query, place, prepared);
      // It makes no cursor and no prepared statement, and asks for no data.
      const { prepares: _1, deallocates: _2, copy: _3, declares: _4, ...rest } = inner;
      return { ...rest, tag };
    }
    case 'CreateTableAsStmt':
      return walkCreateTableAs(as(node, kind) ?? {}, place, prepared);
    case 'ViewStmt': {
      const view = as(node, kind) ?? {};
      onlyKnown('view', view, ['view', 'aliases', 'query', 'replace', 'options', 'withCheckOption']);
      collector.onDatabase('ddl');
      collector.changesNames();
      if (view.query !== undefined) walkQuery(view.query, place);
      return { tag };
    }
    case 'PrepareStmt': {
      const prepare = as(node, kind) ?? {};
      onlyKnown('prepare', prepare, ['name', 'argtypes', 'query']);
      walkExpressions(prepare.argtypes, place);
      if (prepare.query === undefined || prepare.name === undefined) throw new Undecidable('it prepares nothing');
      walkQuery(prepare.query, place);
      // Of the class of what it prepares: a Bind of that name runs it, and is judged by this very text.
      return { tag, prepares: prepare.name };
    }
    case 'ExecuteStmt':
      return walkExecute(as(node, kind) ?? {}, place, prepared);
    case 'DeallocateStmt': {
      const { name, isall } = as(node, kind) ?? {};
      return { tag, class: 'session', deallocates: isall === true || name === undefined ? 'all' : { name } };
    }
    case 'DeclareCursorStmt': {
      const cursor = as(node, kind) ?? {};
      onlyKnown('cursor', cursor, ['portalname', 'options', 'query']);
      if (cursor.query !== undefined) walkQuery(cursor.query, place);
      return { tag, declares: cursor.portalname ?? '' };
    }
    case 'FetchStmt':
      return {
        tag: as(node, kind)?.ismove === true ? 'MOVE' : 'FETCH',
        fetches: as(node, kind)?.portalname ?? '',
      };
    case 'ClosePortalStmt':
      return { tag: as(node, kind)?.portalname === undefined ? 'CLOSE CURSOR ALL' : 'CLOSE CURSOR' };
    case 'TransactionStmt':
      return walkTransaction(as(node, kind) ?? {}, place);
    case 'ConstraintsSetStmt':
      return { tag: 'SET CONSTRAINTS', class: 'transaction' };
    case 'VariableSetStmt':
      return walkSet(as(node, kind) ?? {}, place);
    case 'VariableShowStmt':
      return { tag, class: 'session' };
    case 'DiscardStmt': {
      const all = as(node, kind)?.target === 'DISCARD_ALL';
      if (all || as(node, kind)?.target === 'DISCARD_TEMP') collector.changesNames();
      return { tag: 'DISCARD', class: 'session', ...(all ? { deallocates: 'all' } : {}) };
    }
    case 'UnlistenStmt':
      return { tag, class: 'session' };
    case 'ListenStmt':
      collector.onChannel('listen', as(node, kind)?.conditionname ?? '');
      return { tag, class: 'session' };
    case 'NotifyStmt':
      collector.onChannel('notify', as(node, kind)?.conditionname ?? '');
      return { tag };
    default:
      return walkByTable(node);
  }

  function walkByTable(statement: Node): Walked {
    const of = kindOf(statement);
    const refused = of === undefined ? undefined : dangerous[of];
    if (refused !== undefined) throw new Undecidable(refused[1]);
    if (of === undefined || definitions[of] === undefined) {
      throw new Undecidable(`it is a ${of}, which is not known here`);
    }
    collector.onDatabase('ddl');
    collector.changesNames();
    return { tag };
  }
}

function walkCopy(copy: CopyStmt, place: Place): Walked {
  onlyKnown('copy', copy, [
    'relation',
    'query',
    'attlist',
    'is_from',
    'is_program',
    'filename',
    'options',
    'whereClause',
  ]);
  const { collector } = place.walk;
  const tag = 'COPY';
  const input = copy.is_from === true;
  if (copy.query !== undefined) walkQuery(copy.query, place);
  if (copy.relation !== undefined) {
    const relation = targetRelation(copy.relation, place);
    const listed = strings(copy.attlist);
    for (const column of listed) {
      if (relation.columns.includes(column)) continue;
      throw new Undecidable(`column \`${column}\` does not exist`, { kind: 'column', name: column });
    }
    const all = relation.columns.filter((column) => !relation.generated.includes(column));
    collector.onTable(input ? 'insert' : 'select', relation, copy.attlist === undefined ? all : listed);
    const here: Place = { ...place, scope: { items: [targetItem(undefined, relation)], parent: undefined } };
    walkExpression(copy.whereClause, here);
  }
  if (copy.filename === undefined && copy.is_program !== true) return { tag, copy: input ? 'in' : 'out' };
  collector.onDatabase('copy');
  collector.danger();
  return { tag };
}

/** `lock table` needs what PostgreSQL asks for: reading for the weakest mode, changing for all others. */
function walkLock(lock: LockStmt, place: Place): Walked {
  onlyKnown('lock', lock, ['relations', 'mode', 'nowait']);
  const accessShare = 1;
  for (const range of lock.relations ?? []) {
    const relation = targetRelation(as(range, 'RangeVar'), place);
    // The right to a single column isn't enough for PostgreSQL.
    place.walk.collector.onTable(lock.mode === accessShare ? 'select' : 'update', relation, relation.columns);
  }
  return { tag: 'LOCK TABLE' };
}

function walkCreateTableAs(create: CreateTableAsStmt, place: Place, prepared: Prepared): Walked {
  onlyKnown('create table as', create, ['query', 'into', 'objtype', 'is_select_into', 'if_not_exists']);
  place.walk.collector.onDatabase('ddl');
  place.walk.collector.changesNames();
  const execute = as(create.query, 'ExecuteStmt');
  if (execute !== undefined) walkExecute(execute, place, prepared);
  else if (create.query !== undefined) walkQuery(create.query, place);
  return {
    tag: create.objtype === 'OBJECT_MATVIEW' ? 'CREATE MATERIALIZED VIEW' : 'SELECT',
    ...(execute?.name === undefined ? {} : { executes: execute.name }),
  };
}

/** What was prepared is judged anew: PostgreSQL resolves its names again when the search path has changed. */
function walkExecute(execute: ExecuteStmt, place: Place, prepared: Prepared): Walked {
  onlyKnown('execute', execute, ['name', 'params']);
  const name = execute.name ?? '';
  walkExpressions(execute.params, place);
  const statement = prepared(name);
  if (statement === undefined) {
    throw new Undecidable(`prepared statement \`${name}\` does not exist`, { kind: 'prepared statement', name });
  }
  const inner = as(statement, 'PrepareStmt')?.query ?? statement;
  if (as(inner, 'ExecuteStmt') !== undefined) throw new Undecidable('it executes a statement that executes another');
  return { ...walkStatement(inner, place, prepared), executes: name };
}

/**
 * Statements that run in transactions of their own making (`PreventInTransactionBlock` in PostgreSQL), and code that may
 * commit. Of a failed one it isn't known from outside what it left behind.
 */
export function commitsWithin(node: Node): TransactionControl | undefined {
  const when = (it: boolean) => (it ? ({ kind: 'commits_within' } as const) : undefined);
  const detachesConcurrently = (command: Node) =>
    as(as(command, 'AlterTableCmd')?.def, 'PartitionCmd')?.concurrent === true;
  switch (kindOf(node)) {
    case 'CallStmt':
    case 'DoStmt':
    case 'VacuumStmt':
    case 'ReindexStmt':
    case 'ClusterStmt':
    case 'CreatedbStmt':
    case 'DropdbStmt':
    case 'CreateTableSpaceStmt':
    case 'DropTableSpaceStmt':
    case 'CreateSubscriptionStmt':
    case 'AlterSubscriptionStmt':
    case 'DropSubscriptionStmt':
    case 'AlterSystemStmt':
      return { kind: 'commits_within' };
    case 'DiscardStmt':
      return when(as(node, 'DiscardStmt')?.target === 'DISCARD_ALL');
    case 'IndexStmt':
      return when(as(node, 'IndexStmt')?.concurrent === true);
    case 'DropStmt':
      return when(as(node, 'DropStmt')?.concurrent === true);
    case 'AlterTableStmt':
      return when(as(node, 'AlterTableStmt')?.cmds?.some(detachesConcurrently) === true);
    default:
      return undefined;
  }
}

/** `read only`, `read write`, `isolation level …`, `deferrable` as the settings that they are. */
function transactionOption(option: Node): { readonly setting: string; readonly value: string | null } {
  const { defname = '', arg } = (as(option, 'DefElem') as DefElem | undefined) ?? {};
  return { setting: defname, value: constantText(arg === undefined ? undefined : [arg]) };
}

function walkTransaction(
  { kind, gid, chain, savepoint_name, options }: TransactionStmt,
  { walk: { collector } }: Place,
): Walked {
  for (const option of options ?? []) {
    const { setting, value } = transactionOption(option);
    if (judgeSetting(setting, value) === 'leaves read-only') collector.leavesReadOnly();
  }
  const name = savepoint_name ?? '';
  const ends: TransactionControl = { kind: 'ends', chain: chain === true };
  const walked = { class: 'transaction' } as const;
  if (gid !== undefined) throw new Undecidable('a transaction in two phases lives on after the session');
  switch (kind) {
    case 'TRANS_STMT_BEGIN':
      return { ...walked, tag: 'BEGIN' };
    case 'TRANS_STMT_START':
      return { ...walked, tag: 'START TRANSACTION' };
    case 'TRANS_STMT_SAVEPOINT':
      return { ...walked, tag: 'SAVEPOINT', transaction: { kind: 'savepoint', name } };
    case 'TRANS_STMT_RELEASE':
      return { ...walked, tag: 'RELEASE', transaction: { kind: 'release', name } };
    case 'TRANS_STMT_COMMIT':
      return { ...walked, tag: 'COMMIT', endsTransaction: true, transaction: ends };
    case 'TRANS_STMT_ROLLBACK':
    case 'TRANS_STMT_ROLLBACK_TO':
      return {
        ...walked,
        tag: 'ROLLBACK',
        endsTransaction: true,
        transaction: kind === 'TRANS_STMT_ROLLBACK' ? ends : { kind: 'rollback_to', name },
      };
    default:
      throw new Undecidable(`it is a transaction statement (${kind}) that is not known here`);
  }
}

function walkSet(set: VariableSetStmt, place: Place): Walked {
  onlyKnown('set', set, ['kind', 'name', 'args', 'jumble_args', 'is_local']);
  const session = { tag: 'SET', class: 'session' } as const;
  const reset = { tag: 'RESET', class: 'session' } as const;
  const judge = (name: string, value: string | null | undefined): void => {
    const verdict = judgeSetting(name, value);
    if (typeof verdict === 'object') throw new Undecidable(verdict.because);
    if (verdict === 'changes names') place.walk.collector.changesNames();
    if (verdict === 'leaves read-only') place.walk.collector.leavesReadOnly();
  };
  const name = set.name ?? '';
  switch (set.kind) {
    case 'VAR_SET_VALUE':
      judge(name, constantText(set.args));
      return session;
    case 'VAR_SET_DEFAULT':
      judge(name, undefined);
      return session;
    case 'VAR_RESET':
      judge(name, undefined);
      return reset;
    case 'VAR_RESET_ALL':
      place.walk.collector.changesNames();
      return reset;
    case 'VAR_SET_MULTI':
      if (name === 'TRANSACTION' || name === 'SESSION CHARACTERISTICS') {
        for (const option of set.args ?? []) {
          const { setting, value } = transactionOption(option);
          judge(setting, value);
        }
        return { ...session, class: name === 'TRANSACTION' ? 'transaction' : 'session' };
      }
      if (name === 'TRANSACTION SNAPSHOT') return { ...session, class: 'transaction' };
      throw new Undecidable(`\`set ${name}\` is not known here`);
    default:
      throw new Undecidable('it sets something in a way that is not known here');
  }
}

/** The one word or number that a setting is set to; null when it is something else. */
function constantText(args: readonly Node[] | undefined): string | null {
  const constant = args?.length === 1 ? as(args[0], 'A_Const') : undefined;
  if (constant?.sval !== undefined) return constant.sval.sval ?? '';
  if (constant?.ival !== undefined) return String(constant.ival.ival ?? 0);
  return null;
}
