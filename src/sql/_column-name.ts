/** The name PostgreSQL gives to a result column without an alias (FigureColname of its parse_target.c). */
import type { Node, SelectStmt } from '@pgsql/types';
import { as, kindOf } from './_tree.ts';

/** How sure the name is: a cast gives its type's name only to something that has none (`strength` 0 or 1). */
type Guess = { readonly name: string | undefined; readonly strength: 0 | 1 | 2 };
const none: Guess = { name: '?column?', strength: 0 };

const fixed: Readonly<Record<string, string>> = {
  GroupingFunc: 'grouping',
  A_ArrayExpr: 'array',
  RowExpr: 'row',
  CoalesceExpr: 'coalesce',
};

const valueFunctions: Readonly<Record<string, string>> = {
  SVFOP_CURRENT_DATE: 'current_date',
  SVFOP_CURRENT_TIME: 'current_time',
  SVFOP_CURRENT_TIME_N: 'current_time',
  SVFOP_CURRENT_TIMESTAMP: 'current_timestamp',
  SVFOP_CURRENT_TIMESTAMP_N: 'current_timestamp',
  SVFOP_LOCALTIME: 'localtime',
  SVFOP_LOCALTIME_N: 'localtime',
  SVFOP_LOCALTIMESTAMP: 'localtimestamp',
  SVFOP_LOCALTIMESTAMP_N: 'localtimestamp',
  SVFOP_CURRENT_ROLE: 'current_role',
  SVFOP_CURRENT_USER: 'current_user',
  SVFOP_USER: 'user',
  SVFOP_SESSION_USER: 'session_user',
  SVFOP_CURRENT_CATALOG: 'current_catalog',
  SVFOP_CURRENT_SCHEMA: 'current_schema',
};

/** Names that differ between versions of PostgreSQL, or need the catalogue to be known. */
const unsure: Guess = { name: undefined, strength: 2 };

function sure(name: string | undefined): Guess {
  return name === undefined ? none : { name, strength: 2 };
}

function lastWord(nodes: readonly Node[] | undefined): string | undefined {
  const words = (nodes ?? []).map((node) => as(node, 'String')?.sval);
  return words.findLast((word) => word !== undefined);
}

/** The single result column of a scalar subquery lends its name. */
function firstTargetName(query: SelectStmt | undefined): string | undefined {
  let at = query;
  while (at?.larg !== undefined) at = at.larg;
  if (at?.valuesLists !== undefined) return 'column1';
  const target = as(at?.targetList?.[0], 'ResTarget');
  return target === undefined ? undefined : (target.name ?? columnName(target.val));
}

function guess(node: Node | undefined): Guess {
  const kind = node === undefined ? undefined : kindOf(node);
  if (node === undefined || kind === undefined) return none;
  switch (kind) {
    case 'ColumnRef':
      return as(as(node, kind)?.fields?.at(-1), 'A_Star') === undefined
        ? sure(lastWord(as(node, kind)?.fields))
        : unsure;
    case 'A_Indirection': {
      const name = lastWord(as(node, kind)?.indirection);
      return name === undefined ? guess(as(node, kind)?.arg) : sure(name);
    }
    case 'FuncCall':
      return sure(lastWord(as(node, kind)?.funcname));
    case 'A_Expr':
      return as(node, kind)?.kind === 'AEXPR_NULLIF' ? sure('nullif') : none;
    case 'TypeCast': {
      const inner = guess(as(node, kind)?.arg);
      const type = lastWord(as(node, kind)?.typeName?.names);
      return inner.strength <= 1 && type !== undefined ? { name: type, strength: 1 } : inner;
    }
    case 'CollateClause':
      return guess(as(node, kind)?.arg);
    case 'SubLink': {
      const link = as(node, kind);
      if (link?.subLinkType === 'EXISTS_SUBLINK') return sure('exists');
      if (link?.subLinkType === 'ARRAY_SUBLINK') return sure('array');
      if (link?.subLinkType !== 'EXPR_SUBLINK') return none;
      return { name: firstTargetName(as(link.subselect, 'SelectStmt')), strength: 2 };
    }
    case 'CaseExpr': {
      const inner = guess(as(node, kind)?.defresult);
      return inner.strength <= 1 ? { name: 'case', strength: 1 } : inner;
    }
    case 'MinMaxExpr':
      return sure(as(node, kind)?.op === 'IS_LEAST' ? 'least' : 'greatest');
    case 'SQLValueFunction':
      return sure(valueFunctions[as(node, kind)?.op ?? '']);
    case 'A_Const':
    case 'ParamRef':
    case 'BoolExpr':
    case 'NullTest':
    case 'BooleanTest':
      return none;
    default:
      return Object.hasOwn(fixed, kind) ? sure(fixed[kind]) : unsure;
  }
}

/** Undefined when it can't be said for sure. */
export function columnName(node: Node | undefined): string | undefined {
  return guess(node).name;
}
