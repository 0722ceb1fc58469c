/** A policy engine with the shipped policies and a small configuration, and principals to ask it with. */
import { readFileSync } from 'node:fs';
import type { PrincipalId, ResourceName, RoleName } from '#core/ids.ts';
import { hours, minutes, type Instant } from '#core/instant.ts';
import type { Principal, PrincipalKind } from '#core/principal.ts';
import type { Configuration, Role } from '#core/role.ts';
import { createCedarInstances } from '#policy/_cedar.ts';
import { parseConfiguration } from '#policy/configuration.ts';
import type { PolicyEngine } from '#policy/engine.ts';
import {
  exampleConfiguration,
  openPolicyEngine,
  readConfigurationFiles,
  shippedCases,
  shippedPolicies,
} from '#src/open-policy-engine.ts';

export { exampleConfiguration, openPolicyEngine, readConfigurationFiles, shippedCases, shippedPolicies };

/** 2026-01-07T12:00:00Z, a Wednesday in working hours. */
export const now = 1_767_787_200_000 as Instant;

/** An id with the given letters at its end, so that a failing test says who it was. */
export const idOf = <Id extends string>(prefix: string, name: string): Id =>
  `${prefix}_${name.replaceAll(/[^0-9a-hjkmnp-tv-z]/g, '0').padStart(26, '0')}` as Id;

export function person(
  handle: string,
  groups: readonly string[] = [],
  more: { readonly kind?: PrincipalKind; readonly state?: Principal['state'] } = {},
): Principal {
  const { kind = 'user', state = 'active' } = more;
  return { id: idOf<PrincipalId>('usr', handle), handle, name: handle, kind, state, groups };
}

export function role(name: string, more: Partial<Role> = {}): Role {
  return {
    name: name as RoleName,
    resource: name.slice(0, name.indexOf('/')) as ResourceName,
    description: '',
    maxDuration: hours(4),
    permissions: { tables: [], functions: [] },
    statementTimeout: minutes(5),
    maxConnections: 5,
    requesters: { groups: ['engineering'] },
    approvers: { groups: ['dba'], count: 1 },
    ...more,
  };
}

export function configuration(
  roles: readonly Role[],
  policies: Readonly<Record<string, string>> = {},
  labels: Readonly<Record<string, string>> = {},
): Configuration {
  const names = [...new Set(roles.map(({ resource }) => resource))];
  return {
    resources: names.map((name) => ({
      name,
      kind: 'postgres',
      description: '',
      labels,
      host: 'localhost',
      port: 5432,
      database: name,
      tls: { mode: 'disable' },
      admin: { user: 'admin', password: { file: 'password' } },
      roles: roles.filter(({ resource }) => resource === name),
    })),
    policies,
  };
}

/** The evaluator's instances alone. */
export function openCedar() {
  const bindings = import.meta.resolve('@cedar-policy/cedar-wasm/web');
  return createCedarInstances(readFileSync(new URL('./cedar_wasm_bg.wasm', bindings)));
}

/** A loaded engine; throws with every fault when the set doesn't load. */
export async function engineWith(of: Configuration, shipped = shippedPolicies()) {
  const engine = await openPolicyEngine();
  const outcome = engine.load({ shipped, configuration: of });
  if (outcome.kind === 'faults')
    throw new Error(
      outcome.faults.map((f) => `${f.file}:${f.line}:${f.column} ${f.message} ${f.help ?? ''}`).join('\n'),
    );
  return engine;
}

/** The configuration of `examples/orders`, parsed. */
export function exampleOn(engine: Pick<PolicyEngine, 'check'>): Configuration {
  const outcome = parseConfiguration({ ...exampleConfiguration(), shipped: shippedPolicies(), engine });
  if (outcome.kind === 'faults')
    throw new Error(
      outcome.faults.map((f) => `${f.file}:${f.line}:${f.column} ${f.message} ${f.help ?? ''}`).join('\n'),
    );
  return outcome.configuration;
}

/** An engine that has loaded `examples/orders`. */
export async function exampleEngine() {
  const engine = await openPolicyEngine();
  engine.load({ shipped: shippedPolicies(), configuration: exampleOn(engine) });
  return engine;
}
