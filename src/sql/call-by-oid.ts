/**
 * The protocol's function call message names a function by its oid. It is judged as `select` of that very function with
 * as many parameters; what it would need as a statement it needs here.
 */
import type { Catalogue, Routine } from './catalogue.ts';

/** Stands for the call where else a statement's text does. No text of a client can hold a NUL, so none can be this. */
export function callText(oid: number, argumentCount: number): string {
  return `\0call ${oid} ${argumentCount}`;
}

export type CallByOid = { readonly oid: number; readonly argumentCount: number };

export function parseCallText(text: string): CallByOid | undefined {
  if (!text.startsWith('\0call ')) return undefined;
  const [oid, argumentCount] = text.slice(6).trim().split(' ').map(Number);
  return oid === undefined || argumentCount === undefined ? undefined : { oid, argumentCount };
}

/** The function, and the statement that the call amounts to. Undefined: nobody knows what it would call. */
export function statementOfCall(
  catalogue: Catalogue,
  { oid, argumentCount }: CallByOid,
): { readonly text: string; readonly routine: Routine } | undefined {
  const routine = catalogue.routinesByOid.get(oid);
  if (routine === undefined) return undefined;
  const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
  const parameters = Array.from({ length: argumentCount }, (_, i) => `$${i + 1}`).join(', ');
  return { text: `select ${quote(routine.schema)}.${quote(routine.name)}(${parameters})`, routine };
}
