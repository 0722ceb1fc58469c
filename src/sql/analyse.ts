/**
 * A text becomes statements, and each statement what it needs. The parser is PostgreSQL's own; what the server resolves
 * later (names, functions, casts) is resolved here in the same way from a snapshot of its catalogue.
 *
 * What this can't see: triggers, rules, column defaults, check constraints, row-level policies, views' inner queries,
 * functions behind indexes and types, implicit casts. They run with rights that the database checks; the database role
 * stays the second fence.
 */
import type { Node } from '@pgsql/types';
import { createCollector } from './_collector.ts';
import { parseCallText, statementOfCall, type CallByOid } from './call-by-oid.ts';
import type { Place, Walk } from './_place.ts';
import { temporarySchema } from './_resolve.ts';
import { Undecidable } from './_tree.ts';
import { commitsWithin, tagOf, walkQuery, walkStatement, type Walked } from './_utility.ts';
import { relationKey } from './catalogue.ts';
import type { Names, UnknownNames } from './names.ts';
import {
  otherNeed,
  type Analysis,
  type Missing,
  type Need,
  type StatementAnalysis,
  type StatementClass,
} from './needs.ts';
import { parseText, type Parser } from './parser.ts';
import { parseTypeText, shapeOf } from './type-by-oid.ts';

/** In UTF-16 units. Parsing costs about 20 ms for 35 kB, and a longer text would stall other sessions. */
export const longestText = 1_048_576;

/** What each statement of a text needs. Never throws: what can't be analysed needs `other`. */
export function analyse(parser: Parser, text: string, names: Names | UnknownNames): Analysis {
  if (text.length > longestText) {
    return undecidable(text, `its text is longer than ${longestText} characters`);
  }
  const type = parseTypeText(text);
  if (type !== undefined) return { kind: 'type', shape: shapeOf(names.catalogue, type) };
  const call = parseCallText(text);
  if (call !== undefined) return analyseCall(parser, call, names);
  const parsed = parseText(parser, text);
  if (parsed.kind === 'unparsable') return parsed;
  if (parsed.kind === 'failed') return undecidable(text, 'the parser could not cope with it');
  const statements: StatementAnalysis[] = [];
  const prepared = new Map(names.prepared);
  const endsChangeNames = 'unknownPath' in names || (names.changedInTransaction ?? true);
  let unknownDefinitions = 'unknownDefinitions' in names && names.unknownDefinitions === true;
  let now: Names | UnknownNames = { ...names, prepared };
  for (const { node, text: own } of parsed.statements) {
    const statement = analyseStatement(parser, node, own, now);
    statements.push(statement);
    if (statement.prepares !== undefined) prepared.set(statement.prepares.name, statement.prepares.text);
    if (statement.deallocates === 'all') prepared.clear();
    else if (statement.deallocates !== undefined) prepared.delete(statement.deallocates.name);
    // INVARIANT 7: what stands after a definition in the same string is not judged by the definitions before it.
    unknownDefinitions ||= statement.needs.some(({ action }) => action === 'ddl');
    // INVARIANT 7: what stands after `set search_path` in the same string is not judged by the old path.
    if (statement.mayChangeNames || (statement.endsTransaction && endsChangeNames)) {
      now = { unknownPath: true, unknownDefinitions, catalogue: names.catalogue, prepared };
    }
  }
  return { kind: 'statements', statements };
}

function analyseCall(parser: Parser, call: CallByOid, names: Names | UnknownNames): Analysis {
  const found = statementOfCall(names.catalogue, call);
  const text = `fast-path call of function ${call.oid}`;
  if (found === undefined) {
    const missing: Missing = { kind: 'function', name: `with oid ${call.oid}` };
    return { kind: 'statements', statements: [{ ...refusal(text, 'FUNCTION CALL', 'it is not known'), missing }] };
  }
  const analysis = analyse(parser, found.text, names);
  if (analysis.kind !== 'statements') return undecidable(text, 'its name is not known here');
  const { argumentTypes } = found.routine;
  return {
    kind: 'statements',
    statements: analysis.statements.map((statement) => ({ ...statement, tag: 'FUNCTION CALL', argumentTypes })),
  };
}

function undecidable(text: string, because: string): Analysis {
  return { kind: 'statements', statements: [refusal(text, '', because)] };
}

function refusal(text: string, tag: string, because: string): StatementAnalysis {
  return {
    text,
    tag,
    class: 'dangerous',
    needs: [otherNeed],
    hasWhere: undefined,
    functions: [],
    copy: undefined,
    mayChangeNames: true,
    mayLeaveReadOnly: true,
    endsTransaction: true,
    because,
  };
}

function analyseStatement(parser: Parser, node: Node, text: string, names: Names | UnknownNames): StatementAnalysis {
  const collector = createCollector();
  const walk: Walk = { names, collector, query: walkQuery };
  const place: Place = { walk, scope: undefined, ctes: undefined };
  const prepared = (name: string): Node | undefined => {
    const known = names.prepared?.get(name);
    const parsed = known === undefined ? undefined : parseText(parser, known);
    return parsed?.kind === 'statements' && parsed.statements.length === 1 ? parsed.statements[0]?.node : undefined;
  };
  let walked: Walked;
  try {
    walked = walkStatement(node, place, prepared);
  } catch (error) {
    // A RangeError comes from a statement that is nested too deeply; any other fault of the walker closes as well.
    const because = error instanceof Undecidable ? error.message : 'it is too deep or too strange to be walked';
    const missing = error instanceof Undecidable ? error.missing : undefined;
    const within = commitsWithin(node);
    return {
      ...refusal(text, tagOf(node), because),
      ...(missing === undefined ? {} : { missing }),
      ...(within === undefined ? {} : { transaction: within }),
    };
  }
  const needs = collector.needs();
  const transaction = walked.transaction ?? commitsWithin(node);
  return {
    text,
    tag: walked.tag,
    class: collector.isDangerous() ? 'dangerous' : (walked.class ?? classOf(needs)),
    needs: needs.filter((need) => !isOwnTemporary(need, names)),
    hasWhere: collector.hasWhere(),
    functions: collector.functions(),
    copy: walked.copy,
    mayChangeNames: collector.mayChangeNames(),
    mayLeaveReadOnly: collector.mayLeaveReadOnly(),
    endsTransaction: walked.endsTransaction ?? false,
    ...(transaction === undefined ? {} : { transaction }),
    ...(walked.prepares === undefined ? {} : { prepares: { name: walked.prepares, text } }),
    ...(walked.executes === undefined
      ? {}
      : { executes: { name: walked.executes, text: names.prepared?.get(walked.executes) ?? '' } }),
    ...(walked.declares === undefined ? {} : { declares: { name: walked.declares, text } }),
    ...(walked.fetches === undefined ? {} : { fetches: walked.fetches }),
    ...(walked.deallocates === undefined ? {} : { deallocates: walked.deallocates }),
  };
}

/**
 * A temporary table of this very session: to make it was judged, and so was what is put into it. Nobody's role could name
 * it. Views and foreign tables lead elsewhere, and must be named.
 */
function isOwnTemporary({ object }: Need, names: Names | UnknownNames): boolean {
  if (object.kind !== 'table' || temporarySchema(names) !== object.schema) return false;
  const kind = names.catalogue.relations.get(relationKey(object.schema, object.name))?.kind;
  return kind === 'table' || kind === 'sequence' || kind === 'partitioned table';
}

function classOf(needs: readonly Need[]): StatementClass {
  if (needs.some(({ action }) => action === 'ddl')) return 'ddl';
  return needs.every(({ action }) => action === 'select') ? 'read' : 'write';
}
