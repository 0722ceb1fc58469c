/**
 * What we call things on a target. Every name says which installation it belongs to: several may stand before one server,
 * and each touches only its own.
 */
import { createHash } from 'node:crypto';
import type { GrantId, RoleName } from '#core/ids.ts';

const login = 'sally_l_';
const role = 'sally_r_';

/** With what the names of an installation's logins begin. */
export const loginPrefix = (installation: string): string => `${login}${installation}_`;
export const databaseRolePrefix = (installation: string): string => `${role}${installation}_`;
/** With what the names of everybody's logins and roles begin. */
export const anyLoginPrefix = login;
export const anyRolePrefix = role;

/** `sally_l_`, the installation, and the grant's id without its prefix. */
export const loginName = (installation: string, grant: GrantId): string =>
  `${loginPrefix(installation)}${grant.slice('grt_'.length)}`;

/** The grant of a login of this installation. */
export const grantOfLogin = (installation: string, name: string): GrantId =>
  `grt_${name.slice(loginPrefix(installation).length)}` as GrantId;

export const databaseRoleName = (installation: string, name: RoleName): string =>
  `${databaseRolePrefix(installation)}${createHash('sha256').update(name).digest('hex').slice(0, 24)}`;
