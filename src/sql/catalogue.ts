/**
 * A snapshot of what exists in a target database: the relations with their columns, the functions, and those operators and
 * casts that hide a function somebody wrote. One query loads it as one JSON text.
 */

export type RelationKind = 'table' | 'partitioned table' | 'view' | 'materialized view' | 'sequence' | 'foreign table';

export type Relation = {
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  /** In the order of the table, without dropped ones. */
  readonly columns: readonly string[];
  /** Those of the columns that are generated; `copy` leaves them out. */
  readonly generated: readonly string[];
  /** Primary key, unique and exclusion constraints with their columns, for `on conflict on constraint`. */
  readonly constraints: Readonly<Record<string, readonly string[]>>;
  /**
   * To change it, or also to read it, runs what somebody wrote: triggers, defaults, checks, indexes on expressions, rules and
   * policies, its own or those of what it leads to. That may do to a session what a function that is called may do.
   */
  readonly runs?: 'when changed' | 'always';
};

export type Routine = {
  readonly schema: string;
  readonly name: string;
  readonly kind: 'function' | 'procedure' | 'aggregate' | 'window';
  readonly volatility: 'immutable' | 'stable' | 'volatile';
  readonly language: string;
  readonly securityDefiner: boolean;
  /** Came with the server (its oid is below 16384), not with an extension or a user. */
  readonly builtin: boolean;
  /** How many arguments a call may have; `most` is null for a variadic function. */
  readonly fewest: number;
  readonly most: number | null;
  /** It may return a row, whose columns `from` then shows; otherwise one plain value. */
  readonly returnsRow: boolean;
  readonly oid: number;
  /** Oids of the types of its arguments. */
  readonly argumentTypes: readonly number[];
};

/** An operator or cast whose function is neither C nor internal, so anybody may have written it. */
export type UserOperator = { readonly schema: string; readonly name: string; readonly function: FunctionName };
export type UserCast = { readonly targetType: string; readonly function: FunctionName };
export type FunctionName = { readonly schema: string; readonly name: string };

export type Catalogue = {
  /** By `relationKey(schema, name)`. */
  readonly relations: ReadonlyMap<string, Relation>;
  /** By name, all schemas and overloads together. */
  readonly routines: ReadonlyMap<string, readonly Routine[]>;
  readonly routinesByOid: ReadonlyMap<number, Routine>;
  /** By name. */
  readonly operators: ReadonlyMap<string, readonly UserOperator[]>;
  /** By the name of the target type, without its schema. */
  readonly casts: ReadonlyMap<string, readonly UserCast[]>;
  /** Enums, domains, ranges and arrays that somebody defined, by oid; `of`: the oid of base, bound or element. */
  readonly types: ReadonlyMap<number, DefinedType>;
  /** The server's version as a number: 150004 for 15.4. */
  readonly version: number;
  /** The name of the database, which may be written before schema and table. */
  readonly database: string;
};

export type DefinedType =
  | { readonly kind: 'enum' }
  | { readonly kind: 'domain' | 'range' | 'array'; readonly of: number };

/** A name of PostgreSQL can't contain NUL, so the key is unambiguous. */
export function relationKey(schema: string, name: string): string {
  return `${schema}\u0000${name}`;
}

/**
 * One row with one column of type text: the catalogue of the database it runs in, as JSON for `parseCatalogue`. Run it with
 * a search_path of `pg_catalog` only; every operator in it meets types for which PostgreSQL has an exact match of its own.
 * Takes a few tens of milliseconds on an ordinary database and gives about 400 kB, most of it PostgreSQL's own functions.
 */
export const catalogueQuery = `
select pg_catalog.json_build_object(
  'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
  'database', pg_catalog.current_database(),
  'relations', (
    select pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname, c.relkind, a.columns, a.generated, k.constraints, c.oid::pg_catalog.int8))
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join lateral (
      select pg_catalog.json_agg(attname order by attnum) as columns,
        pg_catalog.json_agg(attname order by attnum) filter (where attgenerated <> '') as generated
      from pg_catalog.pg_attribute
      where attrelid = c.oid and attnum > 0 and not attisdropped
    ) a on true
    left join lateral (
      select pg_catalog.json_object_agg(r.conname, (
          select pg_catalog.json_agg(t.attname)
          from pg_catalog.pg_attribute t
          where t.attrelid = c.oid and t.attnum = any (r.conkey)
        )) as constraints
      from pg_catalog.pg_constraint r
      where r.conrelid = c.oid and r.contype in ('p', 'u', 'x')
    ) k on true
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and n.nspname <> 'pg_toast'
  ),
  'runs', (
    with written as (
      select p.oid
      from pg_catalog.pg_proc p
      join pg_catalog.pg_language l on l.oid = p.prolang
      where p.oid >= '16384'::pg_catalog.oid and l.lanname not in ('c', 'internal')
    ), uses as (
      select d.classid, d.objid
      from pg_catalog.pg_depend d
      where d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid and d.refobjid in (select oid from written)
    )
    select pg_catalog.json_agg(pg_catalog.json_build_array(x.relation::pg_catalog.int8, x.reads))
    from (
      select tgrelid as relation, false as reads
      from pg_catalog.pg_trigger
      where not tgisinternal and tgfoid in (select oid from written)
      union
      select a.adrelid, false
      from pg_catalog.pg_attrdef a
      join uses u on u.objid = a.oid and u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid
      union
      select r.conrelid, false
      from pg_catalog.pg_constraint r
      join uses u on u.objid = r.oid and u.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
      union
      select a.attrelid, false
      from pg_catalog.pg_attribute a
      join pg_catalog.pg_constraint r on r.contypid = a.atttypid
      join uses u on u.objid = r.oid and u.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
      where r.contypid <> '0'::pg_catalog.oid
      union
      select i.indrelid, false
      from pg_catalog.pg_index i
      join uses u on u.objid = i.indexrelid and u.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
      union
      select w.ev_class, true
      from pg_catalog.pg_rewrite w
      join uses u on u.objid = w.oid and u.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
      union
      select p.polrelid, true
      from pg_catalog.pg_policy p
      join uses u on u.objid = p.oid and u.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid
    ) x
  ),
  'leads', (
    select pg_catalog.json_agg(pg_catalog.json_build_array(x.a::pg_catalog.int8, x.b::pg_catalog.int8, x.reads))
    from (
      select w.ev_class as a, d.refobjid as b, true as reads
      from pg_catalog.pg_rewrite w
      join pg_catalog.pg_depend d on d.objid = w.oid
        and d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
        and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
      where d.refobjid <> w.ev_class
      union
      select inhparent, inhrelid, true from pg_catalog.pg_inherits
      union
      select confrelid, conrelid, false
      from pg_catalog.pg_constraint
      where contype = 'f' and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))
    ) x
  ),
  'routines', (
    select pg_catalog.json_agg(pg_catalog.json_build_array(
      n.nspname, p.proname, p.prokind, p.provolatile, l.lanname, p.prosecdef, p.oid < '16384'::pg_catalog.oid,
      p.pronargs - p.pronargdefaults, case when p.provariadic = '0'::pg_catalog.oid then p.pronargs end,
      t.typtype in ('c', 'd', 'p') or p.proargmodes is not null, p.oid::pg_catalog.int8, p.proargtypes::pg_catalog.text))
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    join pg_catalog.pg_language l on l.oid = p.prolang
    join pg_catalog.pg_type t on t.oid = p.prorettype
  ),
  'operators', (
    select pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, o.oprname, f.nspname, p.proname))
    from pg_catalog.pg_operator o
    join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
    join pg_catalog.pg_proc p on p.oid = o.oprcode
    join pg_catalog.pg_namespace f on f.oid = p.pronamespace
    join pg_catalog.pg_language l on l.oid = p.prolang
    where o.oid >= '16384'::pg_catalog.oid and l.lanname not in ('c', 'internal')
  ),
  'casts', (
    select pg_catalog.json_agg(pg_catalog.json_build_array(t.typname, f.nspname, p.proname))
    from pg_catalog.pg_cast k
    join pg_catalog.pg_type t on t.oid = k.casttarget
    join pg_catalog.pg_proc p on p.oid = k.castfunc
    join pg_catalog.pg_namespace f on f.oid = p.pronamespace
    join pg_catalog.pg_language l on l.oid = p.prolang
    where k.oid >= '16384'::pg_catalog.oid and l.lanname not in ('c', 'internal')
  ),
  'types', (
    select pg_catalog.json_agg(pg_catalog.json_build_array(t.oid::pg_catalog.int8, t.typtype,
      case t.typtype when 'd' then t.typbasetype when 'r' then r.rngsubtype else t.typelem end::pg_catalog.int8))
    from pg_catalog.pg_type t
    left join pg_catalog.pg_range r on r.rngtypid = t.oid
    left join pg_catalog.pg_type e on e.oid = t.typelem
    where t.oid >= '16384'::pg_catalog.oid
      and (t.typtype in ('e', 'd', 'r') or t.typtype = 'b' and t.typlen = '-1'::pg_catalog.int2 and e.typtype in ('e', 'd', 'r'))
  )
)::pg_catalog.text`;

/**
 * One row: the effective search path as a JSON array, and the user. It must run in the very session that is judged. In a
 * transaction that has failed it can't run; the path is unknown then.
 */
export const namesQuery =
  'select pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text, current_user::pg_catalog.text';

/**
 * One row: what `namesQuery` answers, the isolation level, and the catalogue, for a session that has changed definitions in a
 * transaction that is open. Nobody else sees those. What others have changed meanwhile is seen as the session's own
 * statements would see it, which holds only for `read committed`; and only when nothing stands before `pg_catalog` on the
 * path is what the query calls PostgreSQL's own.
 */
export const ownCatalogueQuery = `select pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text,
  current_user::pg_catalog.text, pg_catalog.current_setting('transaction_isolation'), (${catalogueQuery.replace(/^\n/, '')})`;

type RelationRow = readonly [
  schema: string,
  name: string,
  kind: string,
  columns: readonly string[] | null,
  generated: readonly string[] | null,
  constraints: Readonly<Record<string, readonly string[] | null>> | null,
  oid: number,
];
type RoutineRow = readonly [
  schema: string,
  name: string,
  kind: string,
  volatility: string,
  language: string,
  securityDefiner: boolean,
  builtin: boolean,
  fewest: number,
  most: number | null,
  returnsRow: boolean,
  oid: number,
  argumentTypes: string,
];
type Document = {
  readonly version: number;
  readonly database: string;
  readonly relations: readonly RelationRow[] | null;
  readonly runs?: readonly (readonly [relation: number, reads: boolean])[] | null;
  /** Whatever is done to the first may be done to the second; or only when the first is changed. */
  readonly leads?: readonly (readonly [from: number, to: number, reads: boolean])[] | null;
  readonly routines: readonly RoutineRow[] | null;
  readonly operators: readonly (readonly [string, string, string, string])[] | null;
  readonly casts: readonly (readonly [string, string, string])[] | null;
  readonly types: readonly (readonly [oid: number, kind: string, of: number])[] | null;
};

const relationKinds: Readonly<Record<string, RelationKind>> = {
  r: 'table',
  p: 'partitioned table',
  v: 'view',
  m: 'materialized view',
  S: 'sequence',
  f: 'foreign table',
};
const routineKinds: Readonly<Record<string, Routine['kind']>> = {
  f: 'function',
  p: 'procedure',
  a: 'aggregate',
  w: 'window',
};
const volatilities: Readonly<Record<string, Routine['volatility']>> = { i: 'immutable', s: 'stable', v: 'volatile' };

/** Reads what `catalogueQuery` returned. The text comes from the target's own server and is taken at its word. */
export function parseCatalogue(json: string): Catalogue {
  const document = JSON.parse(json) as Document;
  const runs = whatRuns(document);
  const relations = new Map<string, Relation>();
  for (const [schema, name, kind, columns, generated, constraints, oid] of document.relations ?? []) {
    relations.set(relationKey(schema, name), {
      schema,
      name,
      kind: relationKinds[kind] ?? 'table',
      columns: columns ?? [],
      generated: generated ?? [],
      constraints: Object.fromEntries(Object.entries(constraints ?? {}).map(([key, list]) => [key, list ?? []])),
      ...runs(oid),
    });
  }
  const routines = new Map<string, Routine[]>();
  const routinesByOid = new Map<number, Routine>();
  for (const row of document.routines ?? []) {
    const [schema, name, kind, volatility, language, securityDefiner, builtin, fewest, most, returnsRow, oid, types] =
      row;
    const routine: Routine = {
      schema,
      name,
      kind: routineKinds[kind] ?? 'function',
      volatility: volatilities[volatility] ?? 'volatile',
      language,
      securityDefiner,
      builtin,
      fewest,
      most,
      returnsRow,
      oid,
      argumentTypes: types === '' ? [] : types.split(' ').map(Number),
    };
    append(routines, name, routine);
    routinesByOid.set(oid, routine);
  }
  const operators = new Map<string, UserOperator[]>();
  for (const [schema, name, functionSchema, functionName] of document.operators ?? []) {
    append(operators, name, { schema, name, function: { schema: functionSchema, name: functionName } });
  }
  const casts = new Map<string, UserCast[]>();
  for (const [targetType, schema, name] of document.casts ?? []) {
    append(casts, targetType, { targetType, function: { schema, name } });
  }
  const types = new Map<number, DefinedType>();
  for (const [oid, kind, of] of document.types ?? []) {
    const kinds = { d: 'domain', r: 'range', b: 'array' } as const;
    types.set(oid, kind === 'e' ? { kind: 'enum' } : { kind: kinds[kind as 'd' | 'r' | 'b'], of });
  }
  return {
    types,
    relations,
    routines,
    routinesByOid,
    operators,
    casts,
    version: document.version,
    database: document.database,
  };
}

/** What is reached from a view, a parent or a table with cascading references runs with it. */
function whatRuns({ runs, leads }: Document): (oid: number) => Pick<Relation, 'runs'> {
  const changed = new Set<number>();
  const always = new Set<number>();
  for (const [oid, reads] of runs ?? []) (reads ? always : changed).add(oid);
  for (let before = -1; before !== changed.size + always.size;) {
    before = changed.size + always.size;
    for (const [from, to, reads] of leads ?? []) {
      if (reads && always.has(to)) always.add(from);
      else if (always.has(to) || changed.has(to)) changed.add(from);
    }
  }
  return (oid) => (always.has(oid) ? { runs: 'always' } : changed.has(oid) ? { runs: 'when changed' } : {});
}

function append<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
