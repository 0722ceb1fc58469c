/** Walks a `from` clause into the items that the rest of the query can name. */
import type { Alias, JoinExpr, JsonTable, Node, RangeFunction, RangeTableFunc, RangeVar } from '@pgsql/types';
import { checkVersion, useOperator, walkBody, walkCall, walkExpression, walkExpressions } from './_expression.ts';
import { findCte, type Place } from './_place.ts';
import { findRelation } from './_resolve.ts';
import { derivedItem, record, tableItem, type Column, type Item } from './_scope.ts';
import { as, kindOf, onlyKnown, strings, Undecidable } from './_tree.ts';
import type { Relation } from './catalogue.ts';

/** Items are what can be named; `columns` what a join around it would merge. */
type From = { readonly items: readonly Item[]; readonly columns: readonly Column[]; readonly opaque: boolean };

function one(item: Item): From {
  return { items: [item], columns: item.columns, opaque: item.opaque };
}

/** The scope of the query whose `from` clause this is; `place.scope` is what lies around the query. */
export function walkFrom(nodes: readonly Node[] | undefined, place: Place): Item[] {
  const items: Item[] = [];
  for (const node of nodes ?? []) items.push(...walkItem(node, place, items).items);
  return items;
}

/** The table that a `RangeVar` of a statement's target means: never a `with` query. */
export function targetRelation(range: RangeVar | undefined, place: Place): Relation {
  if (range?.relname === undefined) throw new Undecidable('it names no table');
  onlyKnown('table', range, ['catalogname', 'schemaname', 'relname', 'inh', 'relpersistence', 'alias']);
  return findRelation(place.walk.names, {
    database: range.catalogname,
    schema: range.schemaname,
    name: range.relname,
  });
}

export function targetItem(range: RangeVar | undefined, relation: Relation): Item {
  return tableItem(relation, range?.alias?.aliasname, aliasColumns(range?.alias));
}

function aliasColumns(alias: Alias | undefined): string[] {
  if (alias !== undefined) onlyKnown('alias', alias, ['aliasname', 'colnames']);
  return strings(alias?.colnames);
}

function walkItem(node: Node, place: Place, before: readonly Item[]): From {
  const kind = kindOf(node);
  switch (kind) {
    case 'RangeVar':
      return one(walkTable(as(node, kind) ?? {}, place));
    case 'RangeSubselect': {
      const range = as(node, kind) ?? {};
      onlyKnown('subquery', range, ['lateral', 'subquery', 'alias']);
      if (range.subquery === undefined) throw new Undecidable('it has a subquery without a query');
      const output = place.walk.query(range.subquery, range.lateral === true ? sideways(place, before) : place);
      return one(derivedItem(range.alias?.aliasname, output, aliasColumns(range.alias)));
    }
    case 'RangeFunction':
      return one(walkFunction(as(node, kind) ?? {}, sideways(place, before)));
    case 'RangeTableFunc':
      return one(walkXmlTable(as(node, kind) ?? {}, sideways(place, before)));
    case 'JsonTable':
      return one(walkJsonTable(as(node, kind) ?? {}, sideways(place, before)));
    case 'RangeTableSample': {
      const { relation, method, args, repeatable, ...more } = as(node, kind) ?? {};
      onlyKnown('tablesample', more, []);
      const name = strings(method);
      if (!['bernoulli', 'system'].includes(name.at(-1) ?? '') || (name.length > 1 && name[0] !== 'pg_catalog')) {
        throw new Undecidable(`it samples a table by \`${name.join('.')}\`, which is not PostgreSQL's own method`);
      }
      if (relation === undefined) throw new Undecidable('it samples nothing');
      walkExpressions(args, sideways(place, before));
      walkExpression(repeatable, sideways(place, before));
      return walkItem(relation, place, before);
    }
    case 'JoinExpr':
      return walkJoin(as(node, kind) ?? {}, place, before);
    default:
      throw new Undecidable(`its from clause contains a ${kind}, which is not known here`);
  }
}

/** Lateral: what stands before in the same `from` clause can be named. */
function sideways(place: Place, before: readonly Item[]): Place {
  return { ...place, scope: { items: before, parent: place.scope } };
}

function walkTable(range: RangeVar, place: Place): Item {
  const name = range.relname ?? '';
  const cte = range.schemaname === undefined ? findCte(place.ctes, name) : undefined;
  if (cte !== undefined) {
    onlyKnown('table', range, ['relname', 'inh', 'relpersistence', 'alias']);
    return derivedItem(range.alias?.aliasname ?? name, cte, aliasColumns(range.alias));
  }
  const relation = targetRelation(range, place);
  place.walk.collector.onTable('select', relation, []);
  return targetItem(range, relation);
}

function columnDefinitions(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).map((node) => {
    const column = as(node, 'ColumnDef');
    if (column?.colname === undefined) throw new Undecidable('it defines columns in a way that is not known here');
    onlyKnown('column definition', column, ['colname', 'typeName', 'is_local', 'collClause']);
    return column.colname;
  });
}

function walkFunction(range: RangeFunction, place: Place): Item {
  onlyKnown('function in the from clause', range, [
    'lateral',
    'ordinality',
    'is_rowsfrom',
    'functions',
    'alias',
    'coldeflist',
  ]);
  const defined = columnDefinitions(range.coldeflist);
  const functions = range.functions ?? [];
  let scalar: string | undefined;
  for (const entry of functions) {
    const [call, columns, ...more] = as(entry, 'List')?.items ?? [];
    if (call === undefined || more.length > 0) throw new Undecidable('it calls a function in a way not known here');
    const body = as(call, 'FuncCall');
    if (body === undefined) walkExpression(call, place);
    else if (!walkCall(body, place).some(({ returnsRow }) => returnsRow)) scalar = strings(body.funcname).at(-1);
    const list = as(columns, 'List')?.items;
    if (list !== undefined) columnDefinitions(list);
  }
  const name = range.alias?.aliasname;
  const ordinality = range.ordinality === true ? ['ordinality'] : [];
  // What rows a function returns isn't looked up: their columns are unknown unless they were written down.
  let output = { names: [] as string[], opaque: true };
  if (functions.length === 1 && defined.length > 0) output = { names: [...defined, ...ordinality], opaque: false };
  else if (functions.length === 1 && scalar !== undefined) {
    output = { names: [name ?? scalar, ...ordinality], opaque: false };
  }
  return derivedItem(name ?? scalar, output, aliasColumns(range.alias));
}

function walkXmlTable(range: RangeTableFunc, place: Place): Item {
  onlyKnown('xmltable', range, ['lateral', 'docexpr', 'rowexpr', 'namespaces', 'columns', 'alias']);
  walkExpression(range.docexpr, place);
  walkExpression(range.rowexpr, place);
  walkExpressions(range.namespaces, place);
  const names = (range.columns ?? []).map((node) => {
    const { colname, typeName, colexpr, coldefexpr, ...more } = as(node, 'RangeTableFuncCol') ?? {};
    onlyKnown('xmltable', more, ['for_ordinality', 'is_not_null']);
    walkBody('TypeName', typeName, place);
    walkExpression(colexpr, place);
    walkExpression(coldefexpr, place);
    return colname ?? '';
  });
  return derivedItem(range.alias?.aliasname ?? 'xmltable', { names, opaque: false }, aliasColumns(range.alias));
}

function walkJsonTable(range: JsonTable, place: Place): Item {
  checkVersion('JsonFuncExpr', place);
  onlyKnown('json_table', range, ['context_item', 'pathspec', 'passing', 'columns', 'on_error', 'alias', 'lateral']);
  walkBody('JsonValueExpr', range.context_item, place);
  walkExpression(range.pathspec?.string, place);
  walkExpressions(range.passing, place);
  walkBody('JsonBehavior', range.on_error, place);
  const names = jsonColumns(range.columns, place);
  return derivedItem(range.alias?.aliasname ?? 'json_table', { names, opaque: false }, aliasColumns(range.alias));
}

function jsonColumns(nodes: readonly Node[] | undefined, place: Place): string[] {
  return (nodes ?? []).flatMap((node) => {
    const column = as(node, 'JsonTableColumn');
    if (column === undefined) throw new Undecidable('its json_table has a column that is not known here');
    onlyKnown('json_table', column, [
      'coltype',
      'name',
      'typeName',
      'pathspec',
      'format',
      'wrapper',
      'quotes',
      'columns',
      'on_empty',
      'on_error',
    ]);
    walkBody('TypeName', column.typeName, place);
    walkExpression(column.pathspec?.string, place);
    walkBody('JsonBehavior', column.on_empty, place);
    walkBody('JsonBehavior', column.on_error, place);
    const nested = jsonColumns(column.columns, place);
    return column.coltype === 'JTC_NESTED' || column.name === undefined ? nested : [column.name, ...nested];
  });
}

/** PostgreSQL takes 32767; the bound keeps a hostile text from filling the memory. */
const mostJoined = 10_000;

function walkJoin(join: JoinExpr, place: Place, before: readonly Item[]): From {
  onlyKnown('join', join, [
    'jointype',
    'isNatural',
    'larg',
    'rarg',
    'usingClause',
    'join_using_alias',
    'quals',
    'alias',
    'rtindex',
  ]);
  if (join.larg === undefined || join.rarg === undefined) throw new Undecidable('it joins nothing');
  const left = walkItem(join.larg, place, before);
  const right = walkItem(join.rarg, place, [...before, ...left.items]);
  const both = [...left.items, ...right.items];
  const opaque = left.opaque || right.opaque;
  const merged = mergedColumns(join, left, right, place);
  walkExpression(join.quals, { ...place, scope: { items: both, parent: place.scope } });

  const names = new Set(merged.map(({ name }) => name));
  const rest = [...left.columns, ...right.columns].filter(({ name }) => !names.has(name));
  const columns = [...merged, ...rest];
  if (columns.length > mostJoined) throw new Undecidable(`a join in it has more than ${mostJoined} columns`);
  const locks = both.flatMap((item) => item.locks);
  const usingAlias = join.join_using_alias?.aliasname;
  if (join.alias !== undefined) {
    // An alias hides everything inside the join but its columns.
    const renamed = aliasColumns(join.alias);
    const named = columns.map((column, index) => ({ ...column, name: renamed[index] ?? column.name }));
    return one({ name: join.alias.aliasname, columns: named, opaque, bare: true, locks });
  }
  return {
    items: [
      { name: undefined, columns, opaque, bare: true, locks: [] },
      ...(usingAlias === undefined
        ? []
        : [{ name: usingAlias, columns: merged, opaque: false, bare: false, locks: [] }]),
      // What has no name and no bare columns can't be reached any more.
      ...both.filter(({ name }) => name !== undefined).map((item) => ({ ...item, bare: false })),
    ],
    columns,
    opaque,
  };
}

/** `using` and `natural` read the columns of both sides, and merge each pair into one. */
function mergedColumns(join: JoinExpr, left: From, right: From, place: Place): Column[] {
  const { collector } = place.walk;
  let names = strings(join.usingClause);
  if (join.isNatural === true) {
    const rightNames = new Set(right.columns.map(({ name }) => name));
    names = left.columns.map(({ name }) => name).filter((name) => rightNames.has(name));
    if (left.opaque || right.opaque) {
      // Which columns are common can't be known: as if all were.
      record(collector, left.columns);
      record(collector, right.columns);
    }
  }
  if (names.length > 0 || join.isNatural === true) useOperator(['='], place);
  return names.map((name) => {
    const found = [left, right].map((side) => {
      const columns = side.columns.filter((column) => column.name === name);
      if (columns.length === 0 && !side.opaque) {
        throw new Undecidable(`column \`${name}\` does not exist`, { kind: 'column', name });
      }
      return columns;
    });
    const columns = found.flat();
    record(collector, columns);
    // They are recorded: whoever reads the merged column reads nothing more, however many joins there are around it.
    return { name, reads: [] };
  });
}
