/** What it takes to call a function. Closed by default: PostgreSQL's own must be known to be harmless, others need `call`. */
import type { Node } from '@pgsql/types';
import type { Collector } from './_collector.ts';
import {
  checkDefinitions,
  findRelation,
  findRoutines,
  nameOf,
  parseNameText,
  routinesCalled,
  type QualifiedName,
} from './_resolve.ts';
import { judgeSetting } from './_settings.ts';
import { as, stringLiteral, Undecidable } from './_tree.ts';
import type { Routine } from './catalogue.ts';
import type { Names, UnknownNames } from './names.ts';

/**
 * PostgreSQL's own volatile functions that change nothing for others and show nothing the caller may not see anyway. What
 * is volatile and not listed (files, large objects, other backends, replication, advisory locks, `query_to_xml`,
 * `ts_stat`, …) needs `call`.
 */
const harmlessVolatile = new Set(
  `clock_timestamp current_query gen_random_uuid lastval pg_advisory_unlock pg_advisory_unlock_all
  pg_advisory_unlock_shared pg_blocking_pids pg_collation_actual_version
  pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_database_collation_actual_version
  pg_database_size pg_export_snapshot pg_get_multixact_members pg_get_wal_replay_pause_state pg_indexes_size
  pg_is_in_recovery pg_is_wal_replay_paused pg_jit_available pg_last_committed_xact pg_last_wal_receive_lsn
  pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status pg_notification_queue_usage pg_partition_ancestors
  pg_partition_tree pg_relation_size pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_sleep
  pg_sleep_for pg_sleep_until pg_stat_clear_snapshot pg_stat_have_stats pg_table_size pg_tablespace_size
  pg_total_relation_size pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status random random_normal
  setseed timeofday txid_status uuidv4 uuidv7`.split(/\s+/),
);
const harmlessVolatileFamilies = /^pg_stat_get_/;

/** Stable or immutable by PostgreSQL's books, and yet they read tables, files or other sessions by a name in a string. */
const dangerousStable =
  /_to_xml(?:schema|_and_xmlschema)?$|^pg_(?:read|ls|stat_file|hba_file|ident_file|show_all_file)|^pg_logical_|^lo_|^dblink/;

/** Behind the views that the shipped policies keep from clients: what others do, and from where. */
const othersWork = new Set(
  `pg_get_replication_slots pg_prepared_xact pg_show_replication_origin_status pg_stat_get_activity
  pg_stat_get_backend_activity pg_stat_get_backend_activity_start pg_stat_get_backend_client_addr
  pg_stat_get_backend_client_port pg_stat_get_backend_dbid pg_stat_get_backend_idset pg_stat_get_backend_pid
  pg_stat_get_backend_start pg_stat_get_backend_subxact pg_stat_get_backend_userid pg_stat_get_backend_wait_event
  pg_stat_get_backend_wait_event_type pg_stat_get_backend_xact_start pg_stat_get_progress_info
  pg_stat_get_subscription pg_stat_get_wal_receiver pg_stat_get_wal_senders`.split(/\s+/),
);

/** `nextval` and `setval` move the sequence, `currval` reads it. */
const sequenceActions: ReadonlyMap<string, 'select' | 'update'> = new Map([
  ['nextval', 'update'],
  ['setval', 'update'],
  ['currval', 'select'],
]);

export type Call = {
  readonly names: Names | UnknownNames;
  readonly collector: Collector;
  readonly parts: readonly string[];
  /** Those between the parentheses and those of `within group (order by …)`. */
  readonly argumentCount: number;
  readonly args: readonly Node[];
  /** What a bare `name` is known to be there. */
  readonly settingName: string | undefined;
};

/** Collects what the call needs, and says which functions it may mean. */
export function judgeCall(call: Call): readonly Routine[] {
  const { names } = call;
  const wanted = asOlderServer(names, nameOf(call.parts));
  const routines = findRoutines(names, wanted, call.argumentCount);
  for (const routine of routines) judgeRoutine(call, routine);
  return routines;
}

/**
 * `(value).name` and `row.name` call the function `name` with the value when it has no such column (`ParseFuncOrColumn` in
 * PostgreSQL's parse_func.c), whatever the type of the value is. Which of the two is meant isn't known here, so what such
 * a function would need is needed, unless it is one of PostgreSQL's own harmless ones.
 */
export function judgeField(call: Pick<Call, 'names' | 'collector'>, name: string, value: Node | undefined): void {
  checkDefinitions(call.names, name);
  const routines = call.names.catalogue.routines.has(name) ? routinesCalled(call.names, { name }, 1) : [];
  for (const routine of routines) {
    if (routine.builtin && isHarmless(routine) && !sequenceActions.has(name)) continue;
    judgeRoutine(
      { ...call, parts: [name], argumentCount: 1, args: value === undefined ? [] : [value], settingName: undefined },
      routine,
    );
  }
}

/** Before PostgreSQL 16 `json_object(…)` and `system_user` were ordinary names; the parser takes them for its own. */
function asOlderServer(names: Names | UnknownNames, wanted: QualifiedName): QualifiedName {
  const own = wanted.schema === 'pg_catalog' && wanted.name === 'json_object' && names.catalogue.version < 160_000;
  return own ? { name: wanted.name } : wanted;
}

function judgeRoutine(call: Call, routine: Routine): void {
  const { names, collector, args } = call;
  const { schema, name } = routine;
  if (!routine.builtin) {
    // It may set the search path inside; functions in C and internal ones only do what an extension's author wrote.
    if (routine.language !== 'c' && routine.language !== 'internal') collector.changesNames();
    collector.calls(routine, true);
    return;
  }
  const action = schema === 'pg_catalog' ? sequenceActions.get(name) : undefined;
  if (action !== undefined) {
    collector.calls(routine, false);
    judgeSequence(names, collector, name, action, args[0]);
    return;
  }
  if (schema === 'pg_catalog' && name === 'set_config') {
    collector.calls(routine, false);
    judgeSetConfig(call);
    return;
  }
  if (schema === 'pg_catalog' && name === 'pg_notify') {
    collector.calls(routine, false);
    collector.onChannel('notify', stringLiteral(args[0]));
    return;
  }
  const harmless = isHarmless(routine);
  collector.calls(routine, !harmless);
  if (!harmless) collector.danger();
}

function isHarmless({ name, volatility }: Routine): boolean {
  if (dangerousStable.test(name) || othersWork.has(name)) return false;
  return volatility !== 'volatile' || harmlessVolatile.has(name) || harmlessVolatileFamilies.test(name);
}

function judgeSequence(
  names: Names | UnknownNames,
  collector: Collector,
  called: string,
  action: 'select' | 'update',
  argument: Node | undefined,
): void {
  const literal = stringLiteral(argument);
  const wanted = literal === undefined ? undefined : parseNameText(literal);
  if (wanted === undefined) throw new Undecidable(`\`${called}\` does not name its sequence as a plain string`);
  collector.onTable(action, findRelation(names, wanted), []);
}

function judgeSetConfig({ collector, args, settingName }: Call): void {
  const fields = as(args[0], 'ColumnRef')?.fields;
  const isName = fields?.length === 1 && as(fields[0], 'String')?.sval === 'name';
  const name = isName ? settingName : stringLiteral(args[0]);
  if (name === undefined) throw new Undecidable('`set_config` does not name its setting as a plain string');
  const verdict = judgeSetting(name, stringLiteral(args[1]) ?? null);
  if (typeof verdict === 'object') throw new Undecidable(verdict.because);
  if (verdict === 'changes names') collector.changesNames();
  if (verdict === 'leaves read-only') collector.leavesReadOnly();
}
