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
      this.#policies = `,"policyVersion":${JSON.stringify(verdict.policyVersion)},"policies":${JSON.stringify(verdict.policies)}}`;
    }
    if (text !== this.#text) {
      this.#text = text;
      this.#textJson = JSON.stringify(recordText(text));
    }
    const bound = parameters === undefined ? '' : `,"parameters":${JSON.stringify(parameters)}`;
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
    return `${this.#ended}${statement},"command":${command},"outcome":${this.#outcome(outcome)},"durationMs":${durationMs},"bytesOut":${bytesOut},"bytesIn":${bytesIn}${copied}${ran}}`;
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

const transactionJson = (transaction: RecordedTransaction): string =>
  transaction.undoes === undefined
    ? `{"number":${transaction.number},"state":"${transaction.state}"}`
    : JSON.stringify(transaction);
