/**
 * Resources and roles as the configuration declares them. A role is an exact set of permissions on one resource; the
 * same value is compiled to Cedar policies (what the gateway judges) and to a database role (what the server enforces).
 */
import type { ResourceName, RoleName } from './ids.ts';
import { minutes, type Duration } from './instant.ts';

/** All columns, present and future, or exactly these. */
export type Columns = 'all' | readonly string[];

/** What a role may do on one table (or view, sequence …), named as the server stores the names. */
export type TablePermission = {
  readonly schema: string;
  readonly name: string;
  readonly select?: Columns;
  readonly insert?: Columns;
  readonly update?: Columns;
  readonly delete?: true;
  readonly truncate?: true;
};

export type FunctionPermission = { readonly schema: string; readonly name: string };

/** What a role may do on one channel of `listen` and `notify`, or on every one there is or will be. */
export type ChannelPermission = {
  readonly channel: 'any' | { readonly name: string };
  readonly listen?: true;
  readonly notify?: true;
};

export type PostgresPermissions = {
  readonly tables: readonly TablePermission[];
  readonly functions: readonly FunctionPermission[];
  readonly channels?: readonly ChannelPermission[];
  /** The database role of the target that sessions run as, so that they may change and drop what it owns. */
  readonly setRole?: string;
};

export type Role = {
  readonly name: RoleName;
  readonly resource: ResourceName;
  readonly description: string;
  /** The longest a grant of it can last. */
  readonly maxDuration: Duration;
  readonly permissions: PostgresPermissions;
  /** The target cancels a statement that runs longer. */
  readonly statementTimeout: Duration;
  /** How many connections one grant may hold at once. */
  readonly maxConnections: number;
  readonly requesters: { readonly groups: readonly string[] };
  /** `count` different people out of `groups`; never empty, never zero. */
  readonly approvers: { readonly groups: readonly string[]; readonly count: number };
};

/** It changes nothing: its sessions are read-only on the target, and stay so. */
export const isReadOnly = ({ permissions: { functions, tables, setRole } }: Role): boolean =>
  setRole === undefined &&
  functions.length === 0 &&
  tables.every((t) => !t.insert && !t.update && !t.delete && !t.truncate);

/** Where a secret is read from at the moment of use; the value itself is never part of a configuration. */
export type SecretReference = { readonly file: string } | { readonly env: string };

/**
 * How a target may ask who we are, in the words of its `pg_hba.conf`. Named is the weakest way that is taken; what is
 * stronger always is. `cert`: it knows us by our certificate alone; `trust`: it asks nothing.
 */
export const authentications = ['scram-sha-256-plus', 'scram-sha-256', 'md5', 'password', 'cert', 'trust'] as const;
export type Authentication = (typeof authentications)[number];

export type Resource = {
  readonly name: ResourceName;
  readonly kind: 'postgres';
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly tls:
    | {
        readonly mode: 'verify-full';
        /** File with the certificates to trust. */
        readonly ca?: string;
        readonly serverName?: string;
        /** TLS from the first byte (PostgreSQL 17), in place of asking for it first. */
        readonly direct?: true;
        /** Shown to a target that demands one. */
        readonly certificate?: { readonly file: string; readonly key: SecretReference };
      }
    | { readonly mode: 'disable' };
  /** Absent: `scram-sha-256`. */
  readonly authentication?: Authentication;
  /** Without a password only where the target knows it by its certificate, or asks for nothing. */
  readonly admin: { readonly user: string; readonly password?: SecretReference };
  readonly roles: readonly Role[];
};

/** 0 is Monday. */
export type Weekday = 0 | 1 | 2 | 3 | 4 | 5 | 6;

/** When people are at work, in the time of one zone; a shift over midnight belongs to the day it begins on. */
export type WorkingHours = {
  /** As IANA names them, for instance `Europe/Berlin`. */
  readonly zone: string;
  readonly days: readonly Weekday[];
  /** Minutes since midnight; `from` is in, `to` is not. */
  readonly from: number;
  readonly to: number;
};

/** How long a held statement waits at most. */
export type HoldLimits = { readonly longest: Duration; readonly inTransaction: Duration };
export const defaultHolds: HoldLimits = { longest: minutes(5), inTransaction: minutes(1) };

/** What `sally apply` applies: resources with their roles, what policy calls by name, and the policy files by name. */
export type Configuration = {
  readonly resources: readonly Resource[];
  /** Networks that policies name, each of addresses and CIDR blocks. */
  readonly networks?: Readonly<Record<string, readonly string[]>>;
  /** Absent: Monday to Friday, 09:00 to 17:00 UTC. */
  readonly workingHours?: WorkingHours;
  readonly holds?: HoldLimits;
  /** File name (`orders.cedar`) to Cedar text; the shipped defaults are always there besides. */
  readonly policies: Readonly<Record<string, string>>;
};
