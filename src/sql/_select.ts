/** Walks `select`, `values`, `table`, set operations and `with`. */
import type { LockingClause, Node, SelectStmt, WithClause } from '@pgsql/types';
import { columnName } from './_column-name.ts';
import { useOperator, walkExpression, walkExpressions } from './_expression.ts';
import { walkFrom } from './_from.ts';
import type { Cte, Ctes, Place } from './_place.ts';
import { derivedItem, isColumnHere, type Item, itemsOf, type Output, record, resolveStar } from './_scope.ts';
import { as, kindOf, onlyKnown, stringLiteral, strings, Undecidable } from './_tree.ts';

const plainParts = ['limitOption', 'groupDistinct', 'all'] as const;
const setOperationParts = ['op', 'larg', 'rarg', 'withClause', 'sortClause', 'limitOffset', 'limitCount'] as const;

export function walkSelect(select: SelectStmt, around: Place): Output {
  const here: Place = { ...around, settingName: undefined };
  const place: Place = { ...here, ctes: walkWith(select.withClause, here) };
  if (select.op !== undefined && select.op !== 'SETOP_NONE') return walkSetOperation(select, place);
  if (select.valuesLists !== undefined) return walkValues(select, place);
  return walkPlainSelect(select, place);
}

/** The `with` clause of any statement: what its queries are called, visible from here on. */
export function walkWith(clause: WithClause | undefined, place: Place): Ctes | undefined {
  if (clause === undefined) return place.ctes;
  onlyKnown('with clause', clause, ['ctes', 'recursive']);
  const found = new Map<string, Cte>();
  const ctes: Ctes = { found, parent: place.ctes };
  const queries = (clause.ctes ?? []).map((node) => {
    const query = as(node, 'CommonTableExpr');
    if (query?.ctename === undefined || query.ctequery === undefined) {
      throw new Undecidable('its with clause contains something that is not known here');
    }
    onlyKnown('with clause', query, [
      'ctename',
      'aliascolnames',
      'ctematerialized',
      'ctequery',
      'search_clause',
      'cycle_clause',
    ]);
    return { ...query, name: query.ctename, query: query.ctequery, columns: strings(query.aliascolnames) };
  });
  if (clause.recursive === true) {
    // Within itself (and before its turn) a recursive query has the columns it was given, and perhaps others.
    for (const { name, columns } of queries) found.set(name, { names: columns, opaque: true });
  }
  for (const { name, query, columns, search_clause: search, cycle_clause: cycle } of queries) {
    const output = place.walk.query(query, { ...place, ctes });
    if (search !== undefined) {
      onlyKnown('search clause', search, ['search_col_list', 'search_breadth_first', 'search_seq_column']);
    }
    if (cycle !== undefined) {
      onlyKnown('cycle clause', cycle, [
        'cycle_col_list',
        'cycle_mark_column',
        'cycle_mark_value',
        'cycle_mark_default',
        'cycle_path_column',
      ]);
      walkExpression(cycle.cycle_mark_value, place);
      walkExpression(cycle.cycle_mark_default, place);
    }
    const added = [search?.search_seq_column, cycle?.cycle_mark_column, cycle?.cycle_path_column];
    found.set(name, {
      names: [...columns, ...output.names.slice(columns.length), ...added.filter((column) => column !== undefined)],
      opaque: output.opaque,
    });
  }
  return ctes;
}

function walkSetOperation(select: SelectStmt, place: Place): Output {
  onlyKnown('set operation', select, [...setOperationParts, ...plainParts]);
  if (select.larg === undefined || select.rarg === undefined) throw new Undecidable('it combines nothing');
  const left = walkSelect(select.larg, place);
  const right = walkSelect(select.rarg, place);
  const output = { names: left.names, opaque: left.opaque, locks: [...left.locks, ...right.locks] };
  walkTail(select, [derivedItem(undefined, output, [])], place);
  return output;
}

function walkValues(select: SelectStmt, place: Place): Output {
  onlyKnown('values', select, [
    'valuesLists',
    'op',
    'withClause',
    'sortClause',
    'limitOffset',
    'limitCount',
    ...plainParts,
  ]);
  walkExpressions(select.valuesLists, place);
  const width = as(select.valuesLists?.[0], 'List')?.items?.length ?? 0;
  const names = Array.from({ length: width }, (_, index) => `column${index + 1}`);
  const output = { names, opaque: false, locks: [] };
  walkTail(select, [derivedItem(undefined, output, [])], place);
  return output;
}

/** `order by`, `limit` and `offset` of something whose only columns are those of its result. */
function walkTail(select: SelectStmt, items: readonly Item[], place: Place): void {
  const inside: Place = { ...place, scope: { items, parent: place.scope } };
  walkExpressions(select.sortClause, inside);
  walkExpression(select.limitOffset, inside);
  walkExpression(select.limitCount, inside);
}

function walkPlainSelect(select: SelectStmt, place: Place): Output {
  onlyKnown('select', select, [
    'op',
    'withClause',
    'distinctClause',
    'intoClause',
    'targetList',
    'fromClause',
    'whereClause',
    'groupClause',
    'havingClause',
    'windowClause',
    'sortClause',
    'limitOffset',
    'limitCount',
    'lockingClause',
    ...plainParts,
  ]);
  if (select.intoClause !== undefined) place.walk.collector.onDatabase('ddl');
  const items = walkFrom(select.fromClause, place);
  const inside: Place = { ...place, scope: { items, parent: place.scope }, settingName: undefined };
  const targets = walkTargets(select.targetList, { ...inside, settingName: knownSettingName(select, items) });
  walkExpression(select.whereClause, inside);
  for (const node of select.groupClause ?? []) walkGroupBy(node, targets.names, inside);
  walkExpression(select.havingClause, inside);
  walkExpressions(select.windowClause, inside);
  for (const node of [...(select.distinctClause ?? []), ...(select.sortClause ?? [])]) {
    walkSort(node, targets.names, inside);
  }
  walkExpression(select.limitOffset, inside);
  walkExpression(select.limitCount, inside);
  for (const node of select.lockingClause ?? []) walkLocking(as(node, 'LockingClause'), items, place);
  return { ...targets, locks: items.flatMap((item) => item.locks) };
}

/** The one setting that `from pg_settings where name = '…'` leaves over. */
function knownSettingName(select: SelectStmt, items: readonly Item[]): string | undefined {
  const only = items.length === 1 ? items[0]?.locks[0] : undefined;
  const where = as(select.whereClause, 'A_Expr');
  const equals = where?.kind === 'AEXPR_OP' && where.name?.length === 1 && strings(where.name)[0] === '=';
  const isSettings = only?.schema === 'pg_catalog' && only.name === 'pg_settings' && items[0]?.schema === 'pg_catalog';
  return isSettings && equals && bareName(where.lexpr) === 'name' ? stringLiteral(where.rexpr) : undefined;
}

/** As in PostgreSQL. Stars of stars would grow without end otherwise. */
const mostResults = 1664;
const tooMany = () => new Undecidable(`it has a result of more than ${mostResults} columns`);

/** A select list or a returning list: reads what it names, and says what its columns are called. */
export function walkTargets(nodes: readonly Node[] | undefined, place: Place): { names: string[]; opaque: boolean } {
  const names: string[] = [];
  let opaque = false;
  for (const node of nodes ?? []) {
    const target = as(node, 'ResTarget');
    if (target === undefined) throw new Undecidable('its list of results contains something that is not known here');
    onlyKnown('list of results', target, ['name', 'val']);
    const fields = as(target.val, 'ColumnRef')?.fields;
    if (as(fields?.at(-1), 'A_Star') !== undefined) {
      const star = resolveStar(place.scope, strings(fields?.slice(0, -1)), place.walk.names.catalogue.database);
      record(place.walk.collector, star.columns);
      if (names.length + star.columns.length > mostResults) throw tooMany();
      names.push(...star.columns.map(({ name }) => name));
      opaque ||= star.opaque;
      continue;
    }
    if (names.length >= mostResults) throw tooMany();
    walkExpression(target.val, place);
    const name = target.name ?? columnName(target.val);
    const expands = as(as(target.val, 'A_Indirection')?.indirection?.at(-1), 'A_Star') !== undefined;
    if (!expands && name !== undefined) names.push(name);
    else opaque = true;
  }
  return { names, opaque };
}

/** The name when the node is nothing but one bare name. */
function bareName(node: Node | undefined): string | undefined {
  const fields = as(node, 'ColumnRef')?.fields;
  return fields?.length === 1 ? as(fields[0], 'String')?.sval : undefined;
}

/** A bare name in `order by` and `distinct on` is a column of the result first, then one of the tables. */
function walkSort(node: Node, results: readonly string[], place: Place): void {
  const sort = as(node, 'SortBy');
  const name = bareName(sort === undefined ? node : sort.node);
  if (name === undefined || !results.includes(name)) return walkExpression(node, place);
  if (sort?.useOp !== undefined) useOperator(strings(sort.useOp), place);
}

/** A bare name in `group by` is a column of the tables first, then one of the result. */
function walkGroupBy(node: Node, results: readonly string[], place: Place): void {
  const kind = kindOf(node);
  const set = as(node, 'GroupingSet');
  if (set !== undefined) {
    onlyKnown('group by', set, ['kind', 'content']);
    for (const part of set.content ?? []) walkGroupBy(part, results, place);
    return;
  }
  if (kind === 'RowExpr') {
    for (const part of as(node, kind)?.args ?? []) walkGroupBy(part, results, place);
    return;
  }
  const name = bareName(node);
  const isResult = name !== undefined && results.includes(name);
  place.walk.collector.looksThrough(itemsOf(place.scope));
  if (isResult && !(place.scope !== undefined && isColumnHere(place.scope, name))) return;
  walkExpression(node, place);
}

/** `for update` and its weaker kin: PostgreSQL asks for the right to update some column of each table. */
function walkLocking(clause: LockingClause | undefined, items: readonly Item[], place: Place): void {
  if (clause === undefined) throw new Undecidable('it locks rows in a way that is not known here');
  onlyKnown('locking clause', clause, ['lockedRels', 'strength', 'waitPolicy']);
  const lock = (locked: readonly Item[]): void => {
    for (const relation of locked.flatMap((item) => item.locks)) place.walk.collector.onTable('update', relation, []);
  };
  if (clause.lockedRels === undefined) return lock(items);
  for (const node of clause.lockedRels) {
    const name = as(node, 'RangeVar')?.relname;
    const item = items.find((candidate) => candidate.name === name);
    if (item === undefined) {
      throw new Undecidable(`relation \`${name}\` is not in its from clause`, { kind: 'relation', name: name ?? '' });
    }
    lock([item]);
  }
}
