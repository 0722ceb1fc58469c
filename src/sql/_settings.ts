import { lowerAscii } from './_resolve.ts';

/**
 * Settings that change nothing about what a statement reads or writes, nor how its text is understood: formats, planner,
 * time-outs, the session's own transactions. Everything else is refused, above all custom settings (`app.tenant` and the
 * like), because row-level policies of the target may trust them.
 */
const harmless = new Set(
  `application_name array_nulls bytea_output check_function_bodies client_min_messages constraint_exclusion
  cursor_tuple_fraction datestyle default_statistics_target default_table_access_method default_tablespace
  default_text_search_config default_toast_compression default_transaction_deferrable default_transaction_isolation
  effective_cache_size effective_io_concurrency escape_string_warning extra_float_digits
  from_collapse_limit idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit
  join_collapse_limit lc_monetary lc_numeric lc_time lock_timeout
  min_parallel_index_scan_size min_parallel_table_scan_size parallel_leader_participation parallel_setup_cost
  parallel_tuple_cost plan_cache_mode quote_all_identifiers random_page_cost recursive_worktable_factor
  restrict_nonsystem_relation_kind row_security seed seq_page_cost statement_timeout stats_fetch_consistency
  synchronize_seqscans timezone timezone_abbreviations transaction_deferrable transaction_isolation
  transaction_timeout transform_null_equals xmlbinary xmloption`.split(/\s+/),
);
const harmlessFamilies = /^(?:enable_[a-z_]+|cpu_[a-z_]+_cost|geqo(?:_[a-z_]+)?|jit_[a-z_]+)$/;

/** What one session may take of the server: these up to so much (memory in kB, `hash_mem_multiplier` and workers in pieces). */
const bounded: ReadonlyMap<string, { readonly most: number; readonly unit: 'kB' | 'pages' | undefined }> = new Map([
  ['work_mem', { most: 262_144, unit: 'kB' }],
  ['maintenance_work_mem', { most: 1_048_576, unit: 'kB' }],
  ['temp_buffers', { most: 262_144, unit: 'pages' }],
  ['hash_mem_multiplier', { most: 8, unit: undefined }],
  ['max_parallel_workers_per_gather', { most: 8, unit: undefined }],
]);
const kilobytes: Readonly<Record<string, number>> = { B: 1 / 1024, kB: 1, MB: 1024, GB: 1_048_576, TB: 1_073_741_824 };

/** A number as PostgreSQL reads it, in the unit of the bounds; undefined when it isn't plainly one. */
function amountOf(value: string, unit: 'kB' | 'pages' | undefined): number | undefined {
  const [, digits, given] = /^\s*(\d{1,15}(?:\.\d{1,15})?)\s*([A-Za-z]{1,2})?\s*$/.exec(value) ?? [];
  if (digits === undefined || (given !== undefined && unit === undefined)) return undefined;
  const factor = given === undefined ? (unit === 'pages' ? 8 : 1) : kilobytes[given];
  return factor === undefined ? undefined : Number(digits) * factor;
}

const yes = ['on', 'true', 'yes', '1'];

export type SettingVerdict = 'harmless' | 'changes names' | 'leaves read-only' | { readonly because: string };

/**
 * May the session set this? `value` is undefined for "back to the default", which is what the session started with (and
 * was looked at then), and null when the value isn't a plain constant.
 */
export function judgeSetting(rawName: string, value: string | null | undefined): SettingVerdict {
  // PostgreSQL compares names of settings without regard to case.
  const name = lowerAscii(rawName);
  if (name === 'search_path') return 'changes names';
  if (harmless.has(name) || harmlessFamilies.test(name)) return 'harmless';
  if (name === 'transaction_read_only' || name === 'default_transaction_read_only') {
    // What is the default was made by the role; a transaction's own goes back to what the server was built with.
    const isDefault = value === undefined && name === 'default_transaction_read_only';
    return isDefault || yes.includes(lowerAscii(value ?? '')) ? 'harmless' : 'leaves read-only';
  }
  const bound = bounded.get(name);
  if (bound !== undefined) {
    const amount = value === undefined ? 0 : amountOf(value ?? '', bound.unit);
    if (amount !== undefined && amount <= bound.most) return 'harmless';
    return { because: `\`${name}\` may not be set to more than ${shownBound(bound)}` };
  }
  if (name === 'client_encoding') {
    // INVARIANT: judged is what the server will see. In another encoding the same bytes could be another text.
    const encoding = value === undefined ? 'utf8' : lowerAscii(value ?? '').replace(/[^a-z0-9]/g, '');
    if (encoding === 'utf8' || encoding === 'unicode') return 'harmless';
    return { because: 'in a client encoding other than UTF8 the statement may not be what it looks like' };
  }
  if (name === 'standard_conforming_strings') {
    // With `off`, a backslash before a quote would end strings elsewhere than the parser here believes.
    if (value === undefined || yes.includes(lowerAscii(value ?? ''))) return 'harmless';
    return { because: 'without standard_conforming_strings a string may end elsewhere than it seems' };
  }
  if (name === 'role' || name === 'session_authorization') {
    return { because: 'it would change who the session is to the database' };
  }
  return { because: `setting \`${name}\` is not known to be harmless` };
}

const shownBound = ({ most, unit }: { readonly most: number; readonly unit: string | undefined }): string =>
  unit === undefined ? String(most) : `${most / 1024}MB`;
