/** Walks `insert`, `update`, `delete` and `merge`. */
import type {
  DeleteStmt,
  InsertStmt,
  MergeStmt,
  Node,
  OnConflictClause,
  ReturningClause,
  SelectStmt,
  UpdateStmt,
} from '@pgsql/types';
import { walkExpression, walkExpressions } from './_expression.ts';
import { targetItem, targetRelation, walkFrom } from './_from.ts';
import type { Place } from './_place.ts';
import { findItem, tableItem, type Item, type Output } from './_scope.ts';
import { walkTargets, walkWith } from './_select.ts';
import { as, onlyKnown, Undecidable } from './_tree.ts';
import type { Relation } from './catalogue.ts';

const nothing: Output = { names: [], opaque: false, locks: [] };

export function walkInsert(insert: InsertStmt, around: Place): Output {
  onlyKnown('insert', insert, [
    'relation',
    'cols',
    'selectStmt',
    'onConflictClause',
    'returningClause',
    'withClause',
    'override',
  ]);
  const place: Place = { ...around, ctes: walkWith(insert.withClause, around) };
  const relation = targetRelation(insert.relation, place);
  const target = targetItem(insert.relation, relation);
  const output = insert.selectStmt === undefined ? nothing : place.walk.query(insert.selectStmt, place);
  const columns =
    insert.cols === undefined
      ? filledColumns(relation, as(insert.selectStmt, 'SelectStmt'), output)
      : assignedColumns(insert.cols, relation, place);
  place.walk.collector.onTable('insert', relation, columns);
  if (insert.onConflictClause !== undefined) walkOnConflict(insert.onConflictClause, relation, target, place);
  return walkReturning(insert.returningClause, [target], target, place);
}

/** Without a list the first columns are filled, as many as there are values. */
function filledColumns(relation: Relation, select: SelectStmt | undefined, output: Output): readonly string[] {
  if (select === undefined) return [];
  const values = as(select.valuesLists?.[0], 'List')?.items;
  // `values ((t).*)` and the like may be more than they seem.
  const countable =
    !output.opaque && (values ?? []).every((value) => as(value, 'ColumnRef') === undefined && !expands(value));
  return countable ? relation.columns.slice(0, output.names.length) : relation.columns;
}

function expands(value: Node): boolean {
  return as(as(value, 'A_Indirection')?.indirection?.at(-1), 'A_Star') !== undefined;
}

/** The columns of an insert's list or an update's `set`, and what their subscripts and values read. */
function assignedColumns(nodes: readonly Node[], relation: Relation, place: Place): string[] {
  return nodes.map((node) => {
    const target = as(node, 'ResTarget');
    if (target?.name === undefined) throw new Undecidable('it assigns to something that is not known here');
    onlyKnown('assignment', target, ['name', 'indirection', 'val']);
    for (const step of target.indirection ?? []) if (as(step, 'String') === undefined) walkExpression(step, place);
    walkExpression(target.val, place);
    if (!relation.columns.includes(target.name)) {
      throw new Undecidable(`column \`${target.name}\` does not exist`, { kind: 'column', name: target.name });
    }
    return target.name;
  });
}

function inside(place: Place, items: readonly Item[]): Place {
  return { ...place, scope: { items, parent: place.scope } };
}

function walkOnConflict(clause: OnConflictClause, relation: Relation, target: Item, place: Place): void {
  onlyKnown('on conflict', clause, ['action', 'infer', 'targetList', 'whereClause']);
  const { collector } = place.walk;
  const { infer } = clause;
  if (infer !== undefined) {
    onlyKnown('on conflict', infer, ['indexElems', 'whereClause', 'conname']);
    const here = inside(place, [target]);
    for (const node of infer.indexElems ?? []) {
      const element = as(node, 'IndexElem');
      if (element === undefined) throw new Undecidable('its on conflict has a part that is not known here');
      onlyKnown('on conflict', element, ['name', 'expr', 'collation', 'opclass', 'ordering', 'nulls_ordering']);
      walkExpression(element.expr, here);
      if (element.name === undefined) continue;
      walkExpression({ ColumnRef: { fields: [{ String: { sval: element.name } }] } }, here);
    }
    walkExpression(infer.whereClause, here);
    if (infer.conname !== undefined) {
      const columns = Object.hasOwn(relation.constraints, infer.conname)
        ? relation.constraints[infer.conname]
        : undefined;
      if (columns === undefined) {
        throw new Undecidable(`constraint \`${infer.conname}\` does not exist`, {
          kind: 'constraint',
          name: infer.conname,
        });
      }
      collector.onTable('select', relation, columns);
    }
  }
  if (clause.action !== 'ONCONFLICT_UPDATE') return;
  // What `excluded` shows is the row that was to be inserted; PostgreSQL asks for the right to read the table all the same.
  const excluded: Item = { ...tableItem(relation, 'excluded', []), locks: [] };
  const both = inside(place, [target, { ...excluded, bare: false }]);
  collector.onTable('update', relation, assignedColumns(clause.targetList ?? [], relation, both));
  walkExpression(clause.whereClause, both);
}

/** `returning` may call the target's rows `old` and `new` (PostgreSQL 18), or by names it gives them. */
function walkReturning(
  clause: ReturningClause | undefined,
  items: readonly Item[],
  target: Item,
  place: Place,
): Output {
  if (clause === undefined) return nothing;
  onlyKnown('returning', clause, ['options', 'exprs']);
  const given = (clause.options ?? []).map((node) => {
    const option = as(node, 'ReturningOption');
    if (option?.value === undefined) throw new Undecidable('its returning has an option that is not known here');
    return option.value;
  });
  const scope = inside(place, items);
  const aliases = [...given, 'old', 'new'].filter((name) => findItem(scope.scope, name) === undefined);
  const rows = aliases.map((name): Item => ({ ...target, name, schema: undefined, bare: false }));
  return { ...walkTargets(clause.exprs, inside(place, [...items, ...rows])), locks: [] };
}

export function walkUpdate(update: UpdateStmt, around: Place): Output {
  onlyKnown('update', update, ['relation', 'targetList', 'whereClause', 'fromClause', 'returningClause', 'withClause']);
  const place: Place = { ...around, ctes: walkWith(update.withClause, around) };
  const relation = targetRelation(update.relation, place);
  const target = targetItem(update.relation, relation);
  const items = [target, ...walkFrom(update.fromClause, place)];
  const here = inside(place, items);
  place.walk.collector.onTable('update', relation, assignedColumns(update.targetList ?? [], relation, here));
  place.walk.collector.changesRows(update.whereClause !== undefined);
  walkExpression(update.whereClause, here);
  return walkReturning(update.returningClause, items, target, place);
}

export function walkDelete(deletion: DeleteStmt, around: Place): Output {
  onlyKnown('delete', deletion, ['relation', 'usingClause', 'whereClause', 'returningClause', 'withClause']);
  const place: Place = { ...around, ctes: walkWith(deletion.withClause, around) };
  const relation = targetRelation(deletion.relation, place);
  const target = targetItem(deletion.relation, relation);
  const items = [target, ...walkFrom(deletion.usingClause, place)];
  place.walk.collector.onTable('delete', relation, []);
  place.walk.collector.changesRows(deletion.whereClause !== undefined);
  walkExpression(deletion.whereClause, inside(place, items));
  return walkReturning(deletion.returningClause, items, target, place);
}

export function walkMerge(merge: MergeStmt, around: Place): Output {
  onlyKnown('merge', merge, [
    'relation',
    'sourceRelation',
    'joinCondition',
    'mergeWhenClauses',
    'returningClause',
    'withClause',
  ]);
  if (merge.sourceRelation === undefined) throw new Undecidable('it merges nothing');
  const place: Place = { ...around, ctes: walkWith(merge.withClause, around) };
  const relation = targetRelation(merge.relation, place);
  const target = targetItem(merge.relation, relation);
  const items = [target, ...walkFrom([merge.sourceRelation], place)];
  const here = inside(place, items);
  walkExpression(merge.joinCondition, here);
  // Which rows it changes is a matter of its `when` clauses, and not of a `where`.
  place.walk.collector.changesRows(false);
  for (const node of merge.mergeWhenClauses ?? []) {
    const when = as(node, 'MergeWhenClause');
    if (when === undefined) throw new Undecidable('its merge has a clause that is not known here');
    onlyKnown('merge', when, ['matchKind', 'commandType', 'override', 'condition', 'targetList', 'values']);
    walkExpression(when.condition, here);
    walkExpressions(when.values, here);
    const assigned = assignedColumns(when.targetList ?? [], relation, here);
    switch (when.commandType) {
      case 'CMD_INSERT': {
        const listed = when.targetList === undefined ? relation.columns.slice(0, when.values?.length ?? 0) : assigned;
        place.walk.collector.onTable('insert', relation, listed);
        break;
      }
      case 'CMD_UPDATE':
        place.walk.collector.onTable('update', relation, assigned);
        break;
      case 'CMD_DELETE':
        place.walk.collector.onTable('delete', relation, []);
        break;
      case 'CMD_NOTHING':
        break;
      default:
        throw new Undecidable('its merge does something that is not known here');
    }
  }
  return walkReturning(merge.returningClause, items, target, place);
}
