/**
 * What exists on each target, loaded with the administrator's connection: at first use, after ddl, when a statement names
 * something unknown, and every few minutes. A snapshot is known by its hash, so a reload that changes nothing voids nothing.
 */
import { hash } from 'node:crypto';
import type { ResourceName } from '#core/ids.ts';
import type { Clock } from '#core/instant.ts';
import { catalogueQuery } from '#sql/catalogue.ts';
import type { TargetAccess } from '../control-plane.ts';
import type { Admin } from './admin.ts';

export type Snapshot = {
  readonly resource: ResourceName;
  readonly version: string;
  /** For `parseCatalogue`, in the worker that analyses. */
  readonly json: string;
  readonly loadedAt: number;
};

export type Catalogues = {
  /** The snapshot in use, loaded when there is none or it is old. Throws when the target can't be asked. */
  readonly get: (access: TargetAccess) => Promise<Snapshot>;
  /** Loads anew, at most once in `refreshAtMostEveryMs`; the one in use when that was just done. */
  readonly refresh: (access: TargetAccess) => Promise<Snapshot>;
  /**
   * A cheap look whether anything was defined or dropped on any target in use since its snapshot was loaded, by whomever; if
   * so, loads anew. A name may mean another thing then (INVARIANT 7).
   */
  readonly check: () => Promise<void>;
  /** Something was defined or dropped: the next `get` loads. */
  readonly invalidate: (resource: ResourceName) => void;
};

/** One row with one text, which changes with every change of a definition: each new row version has a new xmin. */
const fingerprintQuery = [
  'pg_class',
  'pg_attribute',
  'pg_proc',
  'pg_namespace',
  'pg_operator',
  'pg_cast',
  'pg_constraint',
  'pg_trigger',
  'pg_attrdef',
  'pg_rewrite',
  'pg_policy',
  'pg_inherits',
]
  .map(
    (table) =>
      `select '${table}' as t, count(*) as n, sum(xmin::text::int8) as s, max(xmin::text::int8) as m from ${table}`,
  )
  .join(' union all ')
  .replace(/^/, `select string_agg(t || n || ' ' || s || ' ' || m, ';' order by t) as fingerprint from (`)
  .concat(') as each_one');

export function createCatalogues(context: {
  readonly admin: (access: TargetAccess) => Admin;
  readonly clock: Clock;
  /** Called when what exists has changed. */
  readonly onChange: (snapshot: Snapshot) => void;
  readonly maxAgeMs?: number;
  readonly refreshAtMostEveryMs?: number;
}): Catalogues {
  const { admin, clock, onChange, maxAgeMs = 300_000, refreshAtMostEveryMs = 1000 } = context;
  const snapshots = new Map<ResourceName, Snapshot>();
  const loading = new Map<ResourceName, Promise<Snapshot>>();
  const seen = new Map<ResourceName, { readonly access: TargetAccess; readonly fingerprint: string }>();

  const fingerprintOf = async (access: TargetAccess) =>
    String((await admin(access).query(fingerprintQuery))[0]?.['fingerprint']);

  const load = (access: TargetAccess): Promise<Snapshot> => {
    const running = loading.get(access.resource);
    if (running !== undefined) return running;
    const run = async () => {
      // First the fingerprint: what changes in between is found by the next check.
      const fingerprint = await fingerprintOf(access);
      const rows = await admin(access).query(catalogueQuery);
      const json = Object.values(rows[0] ?? {})[0];
      if (typeof json !== 'string') throw new Error('target gave no catalogue');
      const version = hash('sha256', json, 'hex');
      const before = snapshots.get(access.resource);
      const snapshot = { resource: access.resource, version, json, loadedAt: clock.now() };
      // INVARIANT 7: begun with before something was defined, so it may not show that. Good for who asked before as well.
      if (loading.get(access.resource) !== promise) return snapshot;
      seen.set(access.resource, { access, fingerprint });
      snapshots.set(access.resource, snapshot);
      if (before?.version !== version) onChange(snapshot);
      return snapshot;
    };
    const promise = run().finally(() => {
      if (loading.get(access.resource) === promise) loading.delete(access.resource);
    });
    loading.set(access.resource, promise);
    return promise;
  };

  return {
    get(access) {
      const known = snapshots.get(access.resource);
      if (known === undefined || clock.now() - known.loadedAt > maxAgeMs) return load(access);
      return Promise.resolve(known);
    },
    refresh(access) {
      const known = snapshots.get(access.resource);
      if (known !== undefined && clock.now() - known.loadedAt < refreshAtMostEveryMs) return Promise.resolve(known);
      return load(access);
    },
    async check() {
      for (const { access, fingerprint } of seen.values())
        if ((await fingerprintOf(access)) !== fingerprint) await load(access);
    },
    invalidate(resource) {
      loading.delete(resource);
      const known = snapshots.get(resource);
      if (known !== undefined) snapshots.set(resource, { ...known, loadedAt: -Infinity });
    },
  };
}
