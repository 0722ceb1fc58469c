/** Walks expressions: which columns they read, which functions, operators and casts they call. */
import type { FuncCall, Node, TypeName } from '@pgsql/types';
import { judgeCall, judgeField } from './_functions.ts';
import type { Place } from './_place.ts';
import { checkDefinitions, findUserOperators, nameOf } from './_resolve.ts';
import { itemsOf, record, resolveColumn, resolveStar } from './_scope.ts';
import { as, kindOf, onlyKnown, strings, Undecidable, type Bodies, type Kind } from './_tree.ts';
import type { Routine } from './catalogue.ts';

/**
 * The kinds of expressions that are only their parts. For each field: `plain` holds no expression, `parts` holds nodes, the
 * name of a kind says that the body of such a node stands there without its wrapping.
 */
type Shape = Readonly<Record<string, 'plain' | 'parts' | Kind>>;

const shapes: Readonly<Partial<Record<Kind, Shape>>> = {
  A_Const: { ival: 'plain', fval: 'plain', boolval: 'plain', sval: 'plain', bsval: 'plain', isnull: 'plain' },
  ParamRef: { number: 'plain' },
  SetToDefault: {},
  Integer: { ival: 'plain' },
  String: { sval: 'plain' },
  List: { items: 'parts' },
  BoolExpr: { boolop: 'plain', args: 'parts' },
  NullTest: { arg: 'parts', nulltesttype: 'plain', argisrow: 'plain' },
  BooleanTest: { arg: 'parts', booltesttype: 'plain' },
  CollateClause: { arg: 'parts', collname: 'plain' },
  A_Indices: { is_slice: 'plain', lidx: 'parts', uidx: 'parts' },
  A_ArrayExpr: { elements: 'parts', list_start: 'plain', list_end: 'plain' },
  CaseWhen: { expr: 'parts', result: 'parts' },
  RowExpr: { args: 'parts', row_format: 'plain' },
  CoalesceExpr: { args: 'parts' },
  MinMaxExpr: { op: 'plain', args: 'parts' },
  SQLValueFunction: { op: 'plain', typmod: 'plain' },
  XmlExpr: { op: 'plain', name: 'plain', named_args: 'parts', args: 'parts', xmloption: 'plain', indent: 'plain' },
  XmlSerialize: { xmloption: 'plain', expr: 'parts', typeName: 'TypeName', indent: 'plain' },
  GroupingFunc: { args: 'parts' },
  GroupingSet: { kind: 'plain', content: 'parts' },
  NamedArgExpr: { arg: 'parts', name: 'plain', argnumber: 'plain' },
  MultiAssignRef: { source: 'parts', colno: 'plain', ncolumns: 'plain' },
  ResTarget: { name: 'plain', indirection: 'parts', val: 'parts' },
  CurrentOfExpr: { cursor_name: 'plain', cursor_param: 'plain' },
  WindowDef: {
    name: 'plain',
    refname: 'plain',
    partitionClause: 'parts',
    orderClause: 'parts',
    frameOptions: 'plain',
    startOffset: 'parts',
    endOffset: 'parts',
  },
  MergeSupportFunc: { msftype: 'plain' },
  DefElem: { defname: 'plain', defaction: 'plain', arg: 'parts' },
  JsonFormat: { format_type: 'plain', encoding: 'plain' },
  JsonReturning: { format: 'plain' },
  JsonOutput: { typeName: 'TypeName', returning: 'plain' },
  JsonValueExpr: { raw_expr: 'parts', format: 'plain' },
  JsonBehavior: { btype: 'plain', expr: 'parts', coerce: 'plain' },
  JsonArgument: { val: 'JsonValueExpr', name: 'plain' },
  JsonKeyValue: { key: 'parts', value: 'JsonValueExpr' },
  JsonIsPredicate: { expr: 'parts', format: 'plain', item_type: 'plain', unique_keys: 'plain' },
  JsonFuncExpr: {
    op: 'plain',
    column_name: 'plain',
    context_item: 'JsonValueExpr',
    pathspec: 'parts',
    passing: 'parts',
    output: 'JsonOutput',
    on_empty: 'JsonBehavior',
    on_error: 'JsonBehavior',
    wrapper: 'plain',
    quotes: 'plain',
  },
  JsonParseExpr: { expr: 'JsonValueExpr', output: 'JsonOutput', unique_keys: 'plain' },
  JsonScalarExpr: { expr: 'parts', output: 'JsonOutput' },
  JsonSerializeExpr: { expr: 'JsonValueExpr', output: 'JsonOutput' },
  JsonObjectConstructor: { exprs: 'parts', output: 'JsonOutput', absent_on_null: 'plain', unique: 'plain' },
  JsonArrayConstructor: { exprs: 'parts', output: 'JsonOutput', absent_on_null: 'plain' },
  JsonAggConstructor: { output: 'JsonOutput', agg_filter: 'parts', agg_order: 'parts', over: 'WindowDef' },
  JsonObjectAgg: {
    ['constructor' as string]: 'JsonAggConstructor',
    arg: 'JsonKeyValue',
    absent_on_null: 'plain',
    unique: 'plain',
  },
  JsonArrayAgg: { ['constructor' as string]: 'JsonAggConstructor', arg: 'JsonValueExpr', absent_on_null: 'plain' },
};

/** On an older server these words are ordinary names, of functions that somebody may have written. */
const sinceVersion: Readonly<Partial<Record<Kind, number>>> = {
  JsonIsPredicate: 160_000,
  JsonObjectConstructor: 160_000,
  JsonArrayConstructor: 160_000,
  JsonArrayQueryConstructor: 160_000,
  JsonObjectAgg: 160_000,
  JsonArrayAgg: 160_000,
  JsonFuncExpr: 170_000,
  JsonParseExpr: 170_000,
  JsonScalarExpr: 170_000,
  JsonSerializeExpr: 170_000,
  MergeSupportFunc: 170_000,
};

export function checkVersion(kind: Kind, place: Place): void {
  if ((sinceVersion[kind] ?? 0) > place.walk.names.catalogue.version) {
    throw new Undecidable('this server is older than the syntax, and may take it for a function of that name');
  }
}

export function walkExpression(node: Node | undefined, place: Place): void {
  if (node === undefined) return;
  const kind = kindOf(node);
  if (kind === undefined) return;
  checkVersion(kind, place);
  const special = specials[kind];
  if (special !== undefined) return special(node, place);
  const shape = Object.hasOwn(shapes, kind) ? shapes[kind] : undefined;
  if (shape === undefined) throw new Undecidable(`it contains a ${kind}, which is not known here`);
  walkParts(kind, (node as Record<string, object>)[kind] ?? {}, shape, place);
}

export function walkExpressions(nodes: readonly Node[] | undefined, place: Place): void {
  for (const node of nodes ?? []) walkExpression(node, place);
}

/** Walks a body that stands somewhere without the wrapping of a node. */
export function walkBody<K extends Kind>(kind: K, body: Bodies[K] | undefined, place: Place): void {
  if (body !== undefined) walkExpression({ [kind]: body } as unknown as Node, place);
}

function walkParts(kind: Kind, body: object, shape: Shape, place: Place): void {
  for (const [field, value] of Object.entries(body)) {
    if (field === 'location') continue;
    const holds = Object.hasOwn(shape, field) ? shape[field] : undefined;
    if (holds === undefined) throw new Undecidable(`its ${kind} has a part \`${field}\` that is not known here`);
    if (holds === 'plain') continue;
    if (holds !== 'parts') walkExpression({ [holds]: value } as unknown as Node, place);
    else if (Array.isArray(value)) walkExpressions(value as Node[], place);
    else walkExpression(value as Node, place);
  }
}

type Special = (node: Node, place: Place) => void;

function body<K extends Kind>(node: Node, kind: K): Bodies[K] {
  return (node as unknown as Bodies)[kind];
}

const specials: Readonly<Partial<Record<Kind, Special>>> = {
  ColumnRef(node, place) {
    const { names, collector } = place.walk;
    const fields = body(node, 'ColumnRef').fields ?? [];
    const star = as(fields.at(-1), 'A_Star') !== undefined;
    const parts = strings(star ? fields.slice(0, -1) : fields);
    const { database } = names.catalogue;
    if (star) return record(collector, resolveStar(place.scope, parts, database).columns);
    collector.looksThrough(itemsOf(place.scope));
    const columns = resolveColumn(place.scope, parts, database);
    record(collector, columns);
    // Nothing of that name is known: the row may have it, or a function of that name is called with the row.
    const field = columns.length === 0 && parts.length > 1 ? parts.at(-1) : undefined;
    if (field !== undefined) judgeField(place.walk, field, undefined);
  },

  A_Expr(node, place) {
    const expression = body(node, 'A_Expr');
    onlyKnown('operator', expression, ['kind', 'name', 'lexpr', 'rexpr', 'rexpr_list_start', 'rexpr_list_end']);
    switch (expression.kind) {
      case 'AEXPR_OP':
      case 'AEXPR_OP_ANY':
      case 'AEXPR_OP_ALL':
      case 'AEXPR_DISTINCT':
      case 'AEXPR_NOT_DISTINCT':
      case 'AEXPR_NULLIF':
      case 'AEXPR_IN':
      case 'AEXPR_LIKE':
      case 'AEXPR_ILIKE':
      case 'AEXPR_SIMILAR':
        useOperator(strings(expression.name), place);
        break;
      case 'AEXPR_BETWEEN':
      case 'AEXPR_NOT_BETWEEN':
      case 'AEXPR_BETWEEN_SYM':
      case 'AEXPR_NOT_BETWEEN_SYM':
        for (const operator of ['<', '<=', '>', '>=']) useOperator([operator], place);
        break;
      default:
        throw new Undecidable(`it has an operator of the kind ${expression.kind}, which is not known here`);
    }
    walkExpression(expression.lexpr, place);
    walkExpression(expression.rexpr, place);
  },

  TypeCast(node, place) {
    const cast = body(node, 'TypeCast');
    onlyKnown('cast', cast, ['arg', 'typeName']);
    walkExpression(cast.arg, place);
    useType(cast.typeName, place);
  },

  TypeName: (node, place) => useType(body(node, 'TypeName'), place),

  FuncCall: (node, place) => void walkCall(body(node, 'FuncCall'), place),

  CaseExpr(node, place) {
    const expression = body(node, 'CaseExpr');
    onlyKnown('case', expression, ['arg', 'args', 'defresult']);
    if (expression.arg !== undefined) useOperator(['='], place);
    walkExpression(expression.arg, place);
    walkExpressions(expression.args, place);
    walkExpression(expression.defresult, place);
  },

  SubLink(node, place) {
    const link = body(node, 'SubLink');
    onlyKnown('subquery', link, ['subLinkType', 'subLinkId', 'testexpr', 'operName', 'subselect']);
    if (link.testexpr !== undefined) useOperator(link.operName === undefined ? ['='] : strings(link.operName), place);
    walkExpression(link.testexpr, place);
    if (link.subselect !== undefined) place.walk.query(link.subselect, place);
  },

  JsonArrayQueryConstructor(node, place) {
    const constructor = body(node, 'JsonArrayQueryConstructor');
    onlyKnown('json_array', constructor, ['query', 'output', 'format', 'absent_on_null']);
    if (constructor.query !== undefined) place.walk.query(constructor.query, place);
    walkBody('JsonOutput', constructor.output, place);
  },

  A_Indirection(node, place) {
    const { arg, indirection = [], ...more } = body(node, 'A_Indirection');
    onlyKnown('indirection', more, []);
    for (const step of indirection) {
      const kind = kindOf(step);
      if (kind !== 'String' && kind !== 'A_Star' && kind !== 'A_Indices') {
        throw new Undecidable('it reaches into a value in a way that is not known here');
      }
      if (kind === 'A_Indices') walkExpression(step, place);
      const name = as(step, 'String')?.sval;
      if (name !== undefined) judgeField(place.walk, name, step === indirection[0] ? arg : undefined);
    }
    // `(t).name` reads the whole row of `t`: so does PostgreSQL ask for all of its columns.
    walkExpression(arg, place);
  },

  SortBy(node, place) {
    const sort = body(node, 'SortBy');
    onlyKnown('order by', sort, ['node', 'sortby_dir', 'sortby_nulls', 'useOp']);
    if (sort.useOp !== undefined) useOperator(strings(sort.useOp), place);
    walkExpression(sort.node, place);
  },
};

/** An operator that somebody defined is a call of the function behind it. */
export function useOperator(parts: readonly string[], { walk }: Place): void {
  for (const operator of findUserOperators(walk.names, nameOf(parts))) {
    walk.collector.changesNames();
    walk.collector.calls(operator.function, true);
  }
}

/** A cast that somebody defined is a call of the function behind it. Only the name of the target type is looked at. */
function useType(type: TypeName | undefined, place: Place): void {
  if (type === undefined) return;
  onlyKnown('type', type, ['names', 'setof', 'typmods', 'typemod', 'arrayBounds']);
  const name = strings(type.names).at(-1) ?? '';
  checkDefinitions(place.walk.names, name);
  for (const cast of place.walk.names.catalogue.casts.get(name) ?? []) {
    place.walk.collector.changesNames();
    place.walk.collector.calls(cast.function, true);
  }
  walkExpressions(type.typmods, place);
}

/** Returns the functions that it may mean. */
export function walkCall(call: FuncCall, place: Place): readonly Routine[] {
  onlyKnown('function call', call, [
    'funcname',
    'args',
    'agg_order',
    'agg_filter',
    'over',
    'agg_within_group',
    'agg_star',
    'agg_distinct',
    'func_variadic',
    'funcformat',
  ]);
  const args = call.args ?? [];
  walkExpressions(args, place);
  walkExpressions(call.agg_order, place);
  walkExpression(call.agg_filter, place);
  walkBody('WindowDef', call.over, place);
  return judgeCall({
    names: place.walk.names,
    collector: place.walk.collector,
    parts: strings(call.funcname),
    argumentCount: args.length + (call.agg_within_group === true ? (call.agg_order?.length ?? 0) : 0),
    args,
    settingName: place.settingName,
  });
}
