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
  default_transaction_read_only effective_cache_size effective_io_concurrency escape_string_warning extra_float_digits
  from_collapse_limit hash_mem_multiplier idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit
  join_collapse_limit lc_monetary lc_numeric lc_time lock_timeout maintenance_work_mem max_parallel_workers_per_gather
  min_parallel_index_scan_size min_parallel_table_scan_size parallel_leader_participation parallel_setup_cost
  parallel_tuple_cost plan_cache_mode quote_all_identifiers random_page_cost recursive_worktable_factor
  restrict_nonsystem_relation_kind row_security seed seq_page_cost statement_timeout stats_fetch_consistency
  synchronize_seqscans temp_buffers timezone timezone_abbreviations transaction_deferrable transaction_isolation
  transaction_read_only transaction_timeout transform_null_equals work_mem xmlbinary xmloption`.split(/\s+/),
);
const harmlessFamilies = /^(?:enable_[a-z_]+|cpu_[a-z_]+_cost|geqo(?:_[a-z_]+)?|jit_[a-z_]+)$/;

export type SettingVerdict = 'harmless' | 'changes names' | { readonly because: string };

/**
 * May the session set this? `value` is undefined for "back to the default", which is what the session started with (and
 * was looked at then), and null when the value isn't a plain constant.
 */
export function judgeSetting(rawName: string, value: string | null | undefined): SettingVerdict {
  // PostgreSQL compares names of settings without regard to case.
  const name = lowerAscii(rawName);
  if (name === 'search_path') return 'changes names';
  if (harmless.has(name) || harmlessFamilies.test(name)) return 'harmless';
  if (name === 'client_encoding') {
    // INVARIANT: judged is what the server will see. In another encoding the same bytes could be another text.
    const encoding = value === undefined ? 'utf8' : lowerAscii(value ?? '').replace(/[^a-z0-9]/g, '');
    if (encoding === 'utf8' || encoding === 'unicode') return 'harmless';
    return { because: 'in a client encoding other than UTF8 the statement may not be what it looks like' };
  }
  if (name === 'standard_conforming_strings') {
    // With `off`, a backslash before a quote would end strings elsewhere than the parser here believes.
    if (value === undefined || ['on', 'true', 'yes', '1'].includes(lowerAscii(value ?? ''))) return 'harmless';
    return { because: 'without standard_conforming_strings a string may end elsewhere than it seems' };
  }
  if (name === 'role' || name === 'session_authorization') {
    return { because: 'it would change who the session is to the database' };
  }
  return { because: `setting \`${name}\` is not known to be harmless` };
}
