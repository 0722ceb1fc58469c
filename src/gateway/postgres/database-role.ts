/**
 * A declared role made true on its target: a `nologin` database role that holds exactly its privileges. "Exactly" is a
 * convergence: what is declared and not there is granted, what is there and not declared is revoked, on tables, columns,
 * sequences, functions, schemas and memberships.
 *
 * With `set-role` it is a member of the one database role that sessions then run as. What that may be is looked at each time.
 */
import type { RoleName } from '#core/ids.ts';
import type { Columns, Role } from '#core/role.ts';
import { quoteIdentifier, quoteLiteral, sqlStateOf, type Admin } from './admin.ts';
import { anyLoginPrefix, anyRolePrefix } from './names.ts';
import { TargetFault } from './target-address.ts';

/** One privilege, in one spelling: `privilege|kind|object|column`. */
type Privilege = {
  readonly privilege: string;
  readonly kind: 'table' | 'sequence' | 'function' | 'schema';
  readonly object: string;
  readonly column: string | null;
};

const keyOf = (p: Privilege): string => JSON.stringify([p.privilege, p.kind, p.object, p.column]);

export type Converged = {
  /** What the role declares and the target doesn't have, or the administrator may not give. */
  readonly lacking: readonly string[];
};

/**
 * Throws `role_refused` when sessions of the role may not run as what it names; the membership is taken back then.
 *
 * @param name from `databaseRoleName`
 */
export async function convergeRole(admin: Admin, name: string, role: Role): Promise<Converged> {
  const quoted = quoteIdentifier(name);
  await createWhenMissing(admin, name, role.name);
  const { setRole } = role.permissions;
  const { refused, lacking } = await admin.transaction(async (query) => {
    // Two gateways at once: what one grants the other would take for granted already, or grant as well.
    await query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [name]);
    const lacking: string[] = [];
    const wanted = await wantedPrivileges(query, role, lacking);
    const before = await heldPrivileges(query, name);
    const held = new Set(before.map(keyOf));
    const declared = new Set(wanted.map(keyOf));
    for (const extra of before.filter((p) => !declared.has(keyOf(p))))
      await query(`revoke ${words(extra)} from ${quoted}`);
    const refused = setRole === undefined ? undefined : await whyNotAs(query, setRole);
    for (const group of await groupsOf(query, name))
      if (group !== setRole || refused !== undefined) await query(`revoke ${quoteIdentifier(group)} from ${quoted}`);
    if (refused !== undefined) return { refused, lacking };
    if (setRole !== undefined) {
      const notGiven = await giveMembership(query, setRole, quoted);
      if (notGiven !== undefined) return { refused: notGiven, lacking };
    }
    const others = (await groupsOf(query, name)).filter((group) => group !== setRole);
    if (others.length > 0)
      throw new TargetFault(
        'target_refused',
        `database role of \`${role.name}\` is a member of \`${others.join('`, `')}\`, which nobody declared`,
      );
    for (const missing of wanted.filter((p) => !held.has(keyOf(p)))) await grantOne(query, missing, quoted);
    // A grant without the right to give it is a warning in PostgreSQL, so look again.
    const after = new Set((await heldPrivileges(query, name)).map(keyOf));
    for (const p of wanted) if (!after.has(keyOf(p))) lacking.push(words(p));
    for (const key of after)
      if (!declared.has(key))
        throw new TargetFault(
          'target_refused',
          `database role of \`${role.name}\` holds more than is declared: ${key}`,
        );
    if (setRole !== undefined) lacking.push(...(await notOf(query, setRole, wanted)));
    return { refused, lacking };
  });
  if (refused !== undefined) throw new TargetFault('role_refused', refused);
  return { lacking };
}

async function groupsOf(query: Admin['query'], name: string): Promise<readonly string[]> {
  const rows = await query(
    `select distinct g.rolname::text as "group" from pg_auth_members m join pg_roles g on g.oid = m.roleid
     where m.member = (select oid from pg_roles where rolname = $1)`,
    [name],
  );
  return rows.map(({ group }) => String(group));
}

/**
 * INVARIANT 12: least privilege a second time. Nobody runs as a superuser, as who makes roles or reads past row security, as
 * one of PostgreSQL's predefined roles, as a login or role of an installation's, or as whoever may become one of these.
 */
async function whyNotAs(query: Admin['query'], setRole: string): Promise<string | undefined> {
  const rows = await query(
    `with recursive reach (oid) as (
       select oid from pg_roles where rolname = $1
       union select m.roleid from pg_auth_members m join reach on m.member = reach.oid)
     select r.rolname::text as name,
            array_remove(array[case when rolsuper then 'superuser' end, case when rolcreaterole then 'createrole' end,
              case when rolcreatedb then 'createdb' end, case when rolreplication then 'replication' end,
              case when rolbypassrls then 'bypassrls' end,
              case when starts_with(rolname, 'pg_') then 'predefined' end,
              case when starts_with(rolname, $2) or starts_with(rolname, $3) then 'of sallyport' end,
              case when rolname = current_user then 'the administrator' end], null) as more
     from pg_roles r join reach using (oid) order by r.rolname <> $1, r.rolname`,
    [setRole, anyLoginPrefix, anyRolePrefix],
  );
  if (rows.length === 0) return `there is no database role \`${setRole}\``;
  for (const { name, more } of rows as unknown as readonly { readonly name: string; readonly more: string[] }[])
    if (more.length > 0)
      return `${name === setRole ? `\`${name}\`` : `\`${setRole}\` is a member of \`${name}\`, which`} is ${more.join(', ')}`;
  return undefined;
}

/** Before PostgreSQL 16 membership has no options. Answers why it could not be given. */
async function giveMembership(query: Admin['query'], group: string, to: string): Promise<string | undefined> {
  const [server] = await query(`select current_setting('server_version_num')::int >= 160000 as "hasOptions"`);
  const options = server?.['hasOptions'] === true ? ' with inherit false, set true, admin false' : '';
  await query('savepoint membership');
  try {
    await query(`grant ${quoteIdentifier(group)} to ${to}${options}`);
    await query('release savepoint membership');
    return undefined;
  } catch (error) {
    if (sqlStateOf(error) !== '42501') throw error;
    await query('rollback to savepoint membership');
    return `the administrator may not give \`${group}\`: it needs it \`with admin option\``;
  }
}

/** What is declared and no good to sessions that run as the owner, since it may not do it either. */
async function notOf(query: Admin['query'], setRole: string, wanted: readonly Privilege[]): Promise<readonly string[]> {
  const rows = await query(
    `select p.* from jsonb_to_recordset($2::jsonb) as p (privilege text, kind text, object text, "column" text)
     where not case when kind = 'schema' then has_schema_privilege($1, to_regnamespace(object)::oid, privilege)
                    when kind = 'sequence' then has_sequence_privilege($1, object, privilege)
                    when "column" is null then has_table_privilege($1, object, privilege)
                    else has_column_privilege($1, object, "column", privilege) end`,
    // Functions are everybody's unless somebody has taken that away.
    [setRole, JSON.stringify(wanted.filter(({ kind }) => kind !== 'function'))],
  );
  return (rows as unknown as readonly Privilege[]).map((p) => `${words(p)}, which \`${setRole}\` may not either`);
}

async function createWhenMissing(admin: Admin, name: string, role: RoleName): Promise<void> {
  const found = await admin.query(
    `select rolsuper or rolcanlogin or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as more
     from pg_roles where rolname = $1`,
    [name],
  );
  if (found[0]?.['more'] === true)
    throw new TargetFault('target_refused', `database role \`${name}\` has attributes that nobody declared`);
  if (found.length > 0) return;
  try {
    await admin.query(`create role ${quoteIdentifier(name)} nologin`);
    await admin.query(`comment on role ${quoteIdentifier(name)} is ${quoteLiteral(`sallyport role ${role}`)}`);
  } catch (error) {
    // Another gateway was quicker.
    if (sqlStateOf(error) !== '42710' && sqlStateOf(error) !== '23505') throw error;
  }
}

async function grantOne(query: Admin['query'], privilege: Privilege, to: string): Promise<void> {
  await query('savepoint one');
  try {
    await query(`grant ${words(privilege)} to ${to}`);
    await query('release savepoint one');
  } catch (error) {
    // Not ours to give: it is reported as lacking, and the rest of the role works.
    if (sqlStateOf(error) !== '42501') throw error;
    await query('rollback to savepoint one');
  }
}

/** `select on table "public"."orders"`, as both `grant` and `revoke` take it. */
function words({ privilege, kind, object, column }: Privilege): string {
  const columns = column === null ? '' : ` (${quoteIdentifier(column)})`;
  return `${privilege}${columns} on ${kind === 'function' ? 'routine' : kind} ${object}`;
}

async function wantedPrivileges(query: Admin['query'], role: Role, lacking: string[]): Promise<Privilege[]> {
  const wanted = new Map<string, Privilege>();
  const add = (p: Privilege) => wanted.set(keyOf(p), p);
  const schemas = new Set<string>();
  const { tables, functions } = role.permissions;
  for (const table of tables) {
    const object = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
    const found = await query(
      `select c.relkind as kind,
              array(select a.attname::text from pg_attribute a
                    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
              array(select ${quotedName('sn.nspname')} || '.' || ${quotedName('s.relname')} from pg_depend d
                    join pg_class s on s.oid = d.objid and s.relkind = 'S'
                    join pg_namespace sn on sn.oid = s.relnamespace
                    where d.refobjid = c.oid and d.deptype = 'a' and d.classid = 'pg_class'::regclass
                      and d.refclassid = 'pg_class'::regclass) as sequences
       from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')`,
      [table.schema, table.name],
    );
    const row = found[0] as { kind: string; columns: string[]; sequences: string[] } | undefined;
    if (row === undefined) {
      lacking.push(`table ${object}`);
      continue;
    }
    schemas.add(table.schema);
    const kind = row.kind === 'S' ? 'sequence' : 'table';
    const perColumn = (privilege: string, columns: Columns | undefined) => {
      if (columns === undefined) return;
      if (columns === 'all' || kind === 'sequence') add({ privilege, kind, object, column: null });
      else
        for (const column of columns) {
          if (row.columns.includes(column)) add({ privilege, kind: 'table', object, column });
          else lacking.push(`column ${object}.${quoteIdentifier(column)}`);
        }
    };
    perColumn('select', table.select);
    perColumn('insert', table.insert);
    perColumn('update', table.update);
    if (table.delete) add({ privilege: 'delete', kind: 'table', object, column: null });
    if (table.truncate) add({ privilege: 'truncate', kind: 'table', object, column: null });
    // The default of a serial column calls nextval as the one who inserts.
    if (table.insert !== undefined)
      for (const sequence of row.sequences)
        add({ privilege: 'usage', kind: 'sequence', object: sequence, column: null });
  }
  for (const { schema, name } of functions) {
    const overloads = await query(
      `select ${quotedName('n.nspname')} || '.' || ${quotedName('p.proname')}
              || '(' || pg_get_function_identity_arguments(p.oid) || ')' as signature
       from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = $1 and p.proname = $2`,
      [schema, name],
    );
    if (overloads.length === 0) lacking.push(`function ${quoteIdentifier(schema)}.${quoteIdentifier(name)}`);
    else schemas.add(schema);
    for (const { signature } of overloads)
      add({ privilege: 'execute', kind: 'function', object: String(signature), column: null });
  }
  for (const schema of schemas)
    add({ privilege: 'usage', kind: 'schema', object: quoteIdentifier(schema), column: null });
  return [...wanted.values()];
}

/** Always quoted, as `quoteIdentifier` does it; `format('%I')` quotes only where it must. */
const quotedName = (column: string): string => `'"' || replace(${column}, '"', '""') || '"'`;

async function heldPrivileges(query: Admin['query'], name: string): Promise<Privilege[]> {
  const rows = await query(
    `with me as (select oid from pg_roles where rolname = $1)
     select lower(a.privilege_type) as privilege, case c.relkind when 'S' then 'sequence' else 'table' end as kind,
            ${quotedName('n.nspname')} || '.' || ${quotedName('c.relname')} as object, null as "column"
     from me, pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a where a.grantee = me.oid
     union all
     select lower(a.privilege_type), 'table', ${quotedName('n.nspname')} || '.' || ${quotedName('c.relname')}, t.attname::text
     from me, pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace,
          aclexplode(t.attacl) a where a.grantee = me.oid and not t.attisdropped
     union all
     select lower(a.privilege_type), 'function',
            ${quotedName('n.nspname')} || '.' || ${quotedName('p.proname')} || '(' || pg_get_function_identity_arguments(p.oid) || ')',
            null
     from me, pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) a where a.grantee = me.oid
     union all
     select lower(a.privilege_type), 'schema', ${quotedName('n.nspname')}, null
     from me, pg_namespace n, aclexplode(n.nspacl) a where a.grantee = me.oid`,
    [name],
  );
  return rows as unknown as Privilege[];
}

/**
 * Takes a role away that nobody declares any more, with what was granted to it. Answers false when it has to stay: a login
 * is still a member, or something in another database of the server is granted to it.
 */
export async function dropUndeclaredRole(admin: Admin, name: string): Promise<boolean> {
  const quoted = quoteIdentifier(name);
  const members = await admin.query(
    `select from pg_auth_members m join pg_roles l on l.oid = m.member
     where m.roleid = (select oid from pg_roles where rolname = $1) and starts_with(l.rolname, $2)`,
    [name, anyLoginPrefix],
  );
  if (members.length > 0) return false;
  try {
    await admin.query(`grant ${quoted} to current_user`);
    await admin.query(`drop owned by ${quoted}`);
    await admin.query(`drop role if exists ${quoted}`);
  } catch (error) {
    if (sqlStateOf(error) === '2BP01') return false;
    throw error;
  }
  return true;
}
