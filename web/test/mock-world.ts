/**
 * The state behind the mock of the API: a small organisation in memory, with real ids, real proof objects and real
 * challenges. It checks no signature (the server's own tests do); everything else that the console relies on happens.
 */
import { randomBytes } from 'node:crypto';
import type { z } from 'zod';
import type { StoredHold } from './mock-holds.ts';
import type { configurationFiles, GrantView, LogEntryView, Me, PlanView, PrincipalView } from '#contract/views.ts';
import type { RequestView, RoleView, SessionView } from '#contract/views.ts';
import type { ErrorCode } from '#contract/errors.ts';
import type { EndpointName } from '#contract/endpoints.ts';
import { type IdKind, newId } from '#core/ids.ts';
import { formatInstant, type Instant } from '#core/instant.ts';
import type { ProofObject } from '#core/proof.ts';

export const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length));
export const now = (): Instant => Date.now() as Instant;
export const id = <K extends IdKind>(kind: K) => newId(kind, { now: now(), random });
/** RFC 3339, some seconds from now. */
export const at = (inSeconds = 0): string => formatInstant((now() + inSeconds * 1000) as Instant);

export type Person = PrincipalView & { readonly isAdministrator: boolean };
export type Link = { readonly person: Person | undefined; readonly expiresAt: string };
export type WebSession = { readonly person: string; provenAt: string; readonly expiresAt: string };
export type Offer = { readonly object: ProofObject; readonly challenge: string; readonly by: string; used: boolean };
export type Ceremony = { readonly challenge: string; readonly who: { handle: string; name: string } | undefined };

export type World = {
  readonly people: Map<string, Person>;
  /** Credential id to person. */
  readonly passkeys: Map<string, string>;
  readonly links: Map<string, Link>;
  readonly cookies: Map<string, WebSession>;
  readonly ceremonies: Map<string, Ceremony>;
  readonly offers: Map<string, Offer>;
  readonly roles: Omit<RoleView, 'mayRequest' | 'pendingRequest' | 'grant'>[];
  /** Which groups may ask for a role. */
  readonly requesters: Map<string, readonly string[]>;
  readonly requests: Map<string, Omit<RequestView, 'you'>>;
  readonly grants: Map<string, Omit<GrantView, 'you'>>;
  readonly sessions: Map<string, SessionView>;
  readonly holds: Map<string, StoredHold>;
  readonly log: LogEntryView[];
  readonly plans: Map<string, PlanView>;
  files: z.infer<typeof configurationFiles> | null;
  /** Calls to fail, once each, on command. */
  readonly failures: { readonly endpoint: EndpointName; readonly code: ErrorCode }[];
  /** Sign-ins older than this many seconds are not fresh enough for the CLI's consent. */
  freshSeconds: number;
};

export function emptyWorld(): World {
  return {
    people: new Map(),
    passkeys: new Map(),
    links: new Map(),
    cookies: new Map(),
    ceremonies: new Map(),
    offers: new Map(),
    roles: [],
    requesters: new Map(),
    requests: new Map(),
    grants: new Map(),
    sessions: new Map(),
    holds: new Map(),
    log: [],
    plans: new Map(),
    files: null,
    failures: [],
    freshSeconds: 300,
  };
}

/** Adds somebody who has not enrolled yet. */
export function addPerson(
  world: World,
  who: {
    readonly handle: string;
    readonly name: string;
    readonly groups: readonly string[];
    readonly isAdministrator?: boolean;
  },
): Person {
  const person: Person = {
    id: id('principal'),
    handle: who.handle,
    name: who.name,
    kind: 'user',
    state: 'invited',
    groups: [...who.groups],
    createdAt: at(),
    lastSignInAt: null,
    authenticators: [],
    isAdministrator: who.isAdministrator ?? false,
  };
  world.people.set(person.id, person);
  return person;
}

/** A fresh one-time link, as the token of its fragment. Without a person it is the first administrator's. */
export function addLink(world: World, person: Person | undefined): string {
  const token = Buffer.from(random(24)).toString('base64url');
  world.links.set(token, { person, expiresAt: at(86_400) });
  return token;
}

export function personOf(world: World, principal: string): Person {
  const person = world.people.get(principal);
  if (person === undefined) throw new Error(`find the person \`${principal}\``);
  return person;
}

export const refOf = ({ id: principal, handle }: Person) => ({ id: principal, handle });

export function meOf(world: World, session: WebSession): Me {
  const person = personOf(world, session.person);
  return {
    principal: refOf(person),
    name: person.name,
    groups: person.groups,
    session: { kind: 'web', expiresAt: session.expiresAt, provenAt: session.provenAt },
    may: {
      administerPrincipals: person.isAdministrator,
      administerConfiguration: person.isAdministrator,
      seeAllGrants: person.isAdministrator,
      readLog: person.isAdministrator ? 'all' : 'own',
    },
    authenticators: person.authenticators.length,
    notices: [],
  };
}

/** Writes an entry of the log. */
export function record(
  world: World,
  kind: string,
  summary: string,
  by: Person | 'system' | 'stranger',
  subject: Record<string, string> = {},
  facts: Record<string, unknown> = {},
  content: Record<string, unknown> | null = null,
): void {
  world.log.push({
    index: world.log.length,
    id: id('entry'),
    at: at(),
    kind,
    actor: typeof by === 'string' ? by : refOf(by),
    subject,
    facts,
    content,
    transaction: null,
    summary,
  });
}
