/** Who acts. Groups come from the identity provider or, in a small install, from the local directory. */
import type { PrincipalId } from './ids.ts';

export type PrincipalKind = 'user' | 'service' | 'agent';

/** The short form that proofs, log entries and pages carry: the id that counts, and the handle that a person knows. */
export type PrincipalRef = { readonly id: PrincipalId; readonly handle: string };

export type Principal = PrincipalRef & {
  readonly kind: PrincipalKind;
  readonly name: string;
  readonly groups: readonly string[];
  readonly state: 'invited' | 'active' | 'suspended';
};

const handle = /^[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*$/;
const group = /^[a-z][a-z0-9]*(?:[._:-][a-z0-9]+)*$/;

/** A handle is 2 to 32 lower-case characters: letters, digits and single `.`, `_`, `-` between them. One spelling only. */
export function parseHandle(text: unknown): string | undefined {
  return typeof text === 'string' && text.length >= 2 && text.length <= 32 && handle.test(text) ? text : undefined;
}

export function parseGroup(text: unknown): string | undefined {
  return typeof text === 'string' && text.length <= 64 && group.test(text) ? text : undefined;
}

/** Members of this group may administer. It is a name like any other to policy; the shipped policies give it meaning. */
export const administrators = 'administrators';
