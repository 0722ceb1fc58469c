/**
 * The two records that every execution has, as JSON put together by hand: what stays the same in a session, for a verdict and
 * for a text is made once. Byte for byte what `JSON.stringify` makes of the event (record-json.test.ts); all other events
 * go that way.
 */
import type { GatewayEvent, RecordedParameter, RecordedTransaction, SessionRef } from '../records.ts';
import { recordText } from './recorded-text.ts';
import type { Allowed } from './judge.ts';

export type StatementBegun = GatewayEvent & { readonly kind: 'statement.begun' };
export type StatementEnded = GatewayEvent & { readonly kind: 'statement.ended' };

export class RecordJson {
  readonly #begun: string;
  readonly #ended: string;
  #verdict: Allowed | undefined;
  #policies = '';
  #text: string | undefined;
  #textJson = '';
  #tag: string | undefined;
  #tagJson = '';

  constructor(on: SessionRef) {
    const ref = JSON.stringify(on);
    this.#begun = `{"kind":"statement.begun","on":${ref},"statement":`;
    this.#ended = `{"kind":"statement.ended","on":${ref},"statement":`;
  }

  begun(
    statement: number,
    protocol: StatementBegun['protocol'],
    text: string,
    verdict: Allowed,
    parameters: readonly RecordedParameter[] | undefined,
  ): string {
    if (verdict !== this.#verdict) {
      this.#verdict = verdict;
      const { hold, cover, digest } = verdict.pass ?? {};
      const pass = digest === undefined ? '' : `,${JSON.stringify({ hold, cover, digest }).slice(1, -1)}`;
      this.#policies = `${pass},"policyVersion":${JSON.stringify(verdict.policyVersion)},"policies":${JSON.stringify(verdict.policies)}}`;
    }
    if (text !== this.#text) {
      this.#text = text;
      this.#textJson = JSON.stringify(recordText(text));
    }
    const bound = parameters === undefined ? '' : `,"parameters":[${parameters.map(parameterJson).join(',')}]`;
    const prepared =
      verdict.executes.length === 0
        ? ''
        : `,"prepared":${JSON.stringify(verdict.executes.map((executed) => ({ name: executed.name, text: recordText(executed.text) })))}`;
    return `${this.#begun}${statement},"protocol":"${protocol}","text":${this.#textJson}${bound}${prepared}${this.#policies}`;
  }

  ended(event: Omit<StatementEnded, 'transaction'>, transaction: RecordedTransaction | undefined): string {
    const { statement, command, outcome, durationMs, bytesOut, bytesIn, copyInSha256 } = event;
    const copied = copyInSha256 === undefined ? '' : `,"copyInSha256":"${copyInSha256}"`;
    const ran = transaction === undefined ? '' : `,"transaction":${transactionJson(transaction)}`;
    return `${this.#ended}${statement},"command":${command},"outcome":${this.#outcome(outcome)},"durationMs":${durationText(durationMs)},"bytesOut":${bytesOut},"bytesIn":${bytesIn}${copied}${ran}}`;
  }

  #outcome(outcome: StatementEnded['outcome']): string {
    if (outcome.kind !== 'completed') return JSON.stringify(outcome);
    if (outcome.tag !== this.#tag) {
      this.#tag = outcome.tag;
      this.#tagJson = JSON.stringify(outcome.tag);
    }
    return `{"kind":"completed","tag":${this.#tagJson},"rows":${outcome.rows}}`;
  }
}

const parameterJson = (parameter: RecordedParameter): string =>
  parameter !== null && 'text' in parameter && !('bytes' in parameter)
    ? `{"text":${JSON.stringify(parameter.text)}}`
    : JSON.stringify(parameter);

/** `.001`, `.002` … `.999`, without zeros at the end. */
const thousandths = Array.from({ length: 1000 }, (_, i) => (i === 0 ? '' : String(i / 1000).slice(1)));

/** As a number is written that has three decimals at most: what others have to find out first. */
function durationText(milliseconds: number): string {
  const us = Math.round(milliseconds * 1000);
  return us >= 0 && us < 1e9 && us / 1000 === milliseconds
    ? `${Math.floor(us / 1000)}${thousandths[us % 1000]}`
    : String(milliseconds);
}

const transactionJson = (transaction: RecordedTransaction): string =>
  transaction.undoes === undefined
    ? `{"number":${transaction.number},"state":"${transaction.state}"}`
    : JSON.stringify(transaction);
