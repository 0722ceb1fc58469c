import {
  AndNode,
  BinaryOperationNode,
  ColumnNode,
  ColumnUpdateNode,
  type InsertQueryNode,
  type KyselyPlugin,
  type OperationNode,
  OperationNodeTransformer,
  OperatorNode,
  type PluginTransformQueryArgs,
  type PluginTransformResultArgs,
  PrimitiveValueListNode,
  type QueryResult,
  ReferenceNode,
  type RootOperationNode,
  type UnknownRow,
  ValueListNode,
  ValueNode,
  ValuesNode,
} from 'kysely';
import { formatInstant, parseInstant } from '#core/instant.ts';

/**
 * How values are written is decided by the column they are for, since at run time an `Instant` is a number like any
 * other, and a JSON array looks like a PostgreSQL array. Within the store a column's name means one type everywhere; a test
 * holds these two lists against the migrated database.
 */
export const instantColumns: ReadonlySet<string> = new Set([
  'access_expires_at',
  'activate_by',
  'activated_at',
  'applied_at',
  'at',
  'created_at',
  'decided_at',
  'destroyed_at',
  'ended_at',
  'ends_at',
  'expires_at',
  'filed_at',
  'first_seen_at',
  'last_seen_at',
  'last_used_at',
  'not_before',
  'opened_at',
  'proven_at',
  'revoked_at',
  'settled_at',
  'starts_at',
  'used_at',
]);
export const jsonColumns: ReadonlySet<string> = new Set([
  'assertion',
  'changes',
  'demands',
  'files',
  'held',
  'object',
  'preview',
  'subjects',
]);

/** Operators whose right side is of the column's own type; `?` takes a key, `->` a path. */
const ofTheSameType: ReadonlySet<string> = new Set(['=', '==', '!=', '<>', '@>', '<@', 'is distinct from']);

function encode(column: string, value: unknown): unknown {
  if (value === null || value === undefined) return value;
  if (instantColumns.has(column) && typeof value === 'number') {
    const instant = parseInstant(value);
    if (instant === undefined) throw new RangeError(`\`${value}\` for \`${column}\` is no instant`);
    return formatInstant(instant);
  }
  return jsonColumns.has(column) ? JSON.stringify(value) : value;
}

/** Kysely's way to change a query before it is compiled is to extend its visitor; there is no functional one. */
class Encoder extends OperationNodeTransformer {
  protected override transformInsertQuery(node: InsertQueryNode): InsertQueryNode {
    const { columns, values } = node;
    if (columns === undefined || values === undefined || !ValuesNode.is(values))
      return super.transformInsertQuery(node);
    const names = columns.map(({ column }) => column.name);
    const encoded = values.values.map((item) =>
      PrimitiveValueListNode.is(item)
        ? PrimitiveValueListNode.create(item.values.map((value, i) => encode(names[i] ?? '', value)))
        : ValueListNode.create(item.values.map((value, i) => encodeNode(names[i] ?? '', value))),
    );
    return super.transformInsertQuery({ ...node, values: ValuesNode.create(encoded) });
  }

  protected override transformColumnUpdate(node: ColumnUpdateNode): ColumnUpdateNode {
    const column = nameOf(node.column);
    return super.transformColumnUpdate(
      column === undefined ? node : ColumnUpdateNode.create(node.column, encodeNode(column, node.value)),
    );
  }

  protected override transformBinaryOperation(node: BinaryOperationNode): BinaryOperationNode {
    const { leftOperand, operator, rightOperand } = node;
    const column = nameOf(leftOperand);
    const applies =
      column !== undefined &&
      (instantColumns.has(column) || (OperatorNode.is(operator) && ofTheSameType.has(operator.operator)));
    return super.transformBinaryOperation(
      applies ? BinaryOperationNode.create(leftOperand, operator, encodeNode(column, rightOperand)) : node,
    );
  }
}

function encodeNode(column: string, node: OperationNode): OperationNode {
  if (ValueNode.is(node)) return { ...node, value: encode(column, node.value) } as ValueNode;
  if (PrimitiveValueListNode.is(node))
    return PrimitiveValueListNode.create(node.values.map((value) => encode(column, value)));
  if (ValueListNode.is(node)) return ValueListNode.create(node.values.map((value) => encodeNode(column, value)));
  // The two ends of `between`.
  if (AndNode.is(node)) return AndNode.create(encodeNode(column, node.left), encodeNode(column, node.right));
  return node;
}

function nameOf(node: OperationNode): string | undefined {
  const column = ReferenceNode.is(node) ? node.column : node;
  return ColumnNode.is(column) ? column.column.name : undefined;
}

const encoder = new Encoder();

export const columnCodecs: KyselyPlugin = {
  transformQuery: ({ node, queryId }: PluginTransformQueryArgs): RootOperationNode =>
    encoder.transformNode(node, queryId),
  transformResult: async ({ result }: PluginTransformResultArgs): Promise<QueryResult<UnknownRow>> => result,
};
