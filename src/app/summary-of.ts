/** One line for people about one entry: who did what to what, and how it went. */
import { formatDuration, formatInstant, parseInstant, type Duration } from '#core/instant.ts';
import type { Json } from '#core/jcs.ts';
import type { Entry } from '#log/entry.ts';

export function summaryOf(from: {
  readonly entry: Entry;
  readonly title: string;
  readonly content: Readonly<Record<string, Json>> | undefined;
  readonly who: string;
  readonly whom: string | undefined;
  /** Of an ended statement: what has become of its transaction by now. */
  readonly transaction?: { readonly number: string; readonly state: string } | undefined;
  /** Of a statement's beginning: its session is open, so it may well end. */
  readonly isRunning?: boolean;
}): string {
  const { entry, title, content, who, whom } = from;
  const { subjects, public: facts } = entry;
  const role = subjects['role'] ?? '';
  const text = (name: string): string => (typeof content?.[name] === 'string' ? content[name] : '');
  const fact = (name: string): string => wordOf(facts[name]) ?? '';
  const when = (name: string): string => {
    const instant = parseInstant(fact(name));
    return instant === undefined ? fact(name) : `${formatInstant(instant).slice(0, 16).replace('T', ' ')} UTC`;
  };
  const because = (word: string): string => (word === '' ? '' : `: ${word}`);
  switch (entry.kind) {
    case 'request.filed':
      return `${who} asks for ${role} for ${formatDuration((Number(facts['seconds']) * 1000) as Duration)}${because(text('reason'))}`;
    case 'request.approved':
      return `${who} approves ${whom ?? 'the request'} for ${role}${Number(facts['stillNeeded']) > 0 ? `, ${fact('stillNeeded')} more needed` : ''}`;
    case 'request.denied':
      return `${who} denies ${whom ?? 'the request'} ${role}${because(text('word'))}`;
    case 'request.withdrawn':
      return `${who} withdraws the request for ${role}`;
    case 'request.expired':
      return `the request of ${whom ?? 'somebody'} for ${role} expires unanswered`;
    case 'grant.created':
      return `${whom ?? 'somebody'} is granted ${role}, to be activated`;
    case 'grant.activated':
      return `${who} activates ${role} until ${when('endsAt')}`;
    case 'grant.ended':
      return `${role} of ${whom ?? who} ends: ${fact('how').replaceAll('_', ' ')}${who === 'system' ? '' : ` by ${who}`}${because(text('word'))}`;
    case 'credential.issued':
      return `${who} gets a connection secret for ${role}`;
    case 'session.opened':
      return `${who} connects to ${subjects['resource'] ?? ''} under ${role}${text('application') === '' ? '' : ` with ${text('application')}`}`;
    case 'session.refused':
      return `${who} is refused a connection under ${role}${because(text('because'))}`;
    case 'session.ended':
      return `session of ${whom ?? who} on ${subjects['resource'] ?? ''} ends: ${fact('how').replaceAll('_', ' ')}${statementsOf(facts['statements'])}`;
    case 'statement.begun':
      return `${statementText(content)} · ${from.isRunning === true ? 'running' : 'no end seen'}`;
    case 'statement.ended':
      return `${statementText(content)} · ${outcomeOf(facts, text('error'))} · ${fact('durationMs')} ms${within(entry, from.transaction)}`;
    case 'transaction.ended':
      return `transaction ${subjects['transaction'] ?? '?'}: ${wordsOf(facts['outcome'])}`;
    case 'hold.opened':
      return `${held(content)} waits for ${fact('wants')}`;
    case 'hold.previewed':
      return `what ${who} runs has touched ${fact('rows')} rows, and waits`;
    case 'hold.reasoned':
      return `${who} says why${because(text('reason'))}`;
    case 'hold.proven':
      return `${who} proves ${held(content)}`;
    case 'hold.approved':
      return `${who} approves ${held(content)} of ${whom ?? 'somebody'}${facts['rowsAtMost'] === undefined ? '' : `, ${fact('rowsAtMost')} rows at most`}`;
    case 'hold.released':
      return `what ${who} waited with is released`;
    case 'hold.denied':
      return `${who} denies what ${whom ?? 'somebody'} waits with${because(text('word'))}`;
    case 'hold.ended':
      return `what ${whom ?? who} waited with ends${because(text('word'))}`;
    case 'authenticator.removed':
      return `${who} removes a passkey${whom === undefined ? '' : ` of ${whom}`}`;
    case 'authenticators.reset':
      return `${who} resets the passkeys${whom === undefined ? '' : ` of ${whom}`}`;
    case 'statement.denied':
      return `${statementText(content)} · denied${because(text('error'))}`;
    case 'statement.judged':
      return `policy is asked about a statement of ${who} under ${role}: ${fact('decision')} by ${listOf(facts['policies'])}`;
    case 'sign_in.succeeded':
      return `${who} signs in at the ${fact('at')}`;
    case 'sign_in.failed':
      return `a sign-in${whom === undefined ? '' : ` as ${whom}`} fails: ${fact('because').replaceAll('_', ' ')}`;
    case 'token.issued':
      return `${who} signs in the command line${text('machine') === '' ? '' : ` on ${text('machine')}`}`;
    case 'authenticator.enrolled':
      return `${who} enrols the passkey ${text('authenticatorName')}`;
    case 'principal.invited':
      return facts['bootstrap'] === true
        ? `the first administrator is ${text('handle')}`
        : `${who} invites ${text('handle')} (${listOf(facts['groups'])})`;
    case 'principal.changed':
      return facts['groups'] === undefined
        ? `${whom ?? who} is ${fact('state')}`
        : `${who} changes ${whom ?? who}: ${fact('state')}, groups ${listOf(facts['groups'])}`;
    case 'link.issued':
      return `a one-time link is issued${whom === undefined ? '' : ` for ${whom}`}${who === 'system' ? '' : ` by ${who}`}`;
    case 'configuration.applied':
      return `${who} applies a configuration with ${listOf(facts['roles'])}`;
    case 'login.created':
    case 'login.dropped':
      return `${title}: ${fact('login')} on ${subjects['resource'] ?? ''}`;
    case 'target.alarm':
      return `${subjects['resource'] ?? 'a target'} needs attention: ${fact('what')}`;
    case 'log.read':
    case 'recording.read':
    case 'log.exported':
      return `${who}: ${title}`;
    default:
      return whom === undefined ? `${who}: ${title}` : `${who}: ${title} (${whom})`;
  }
}

/** Nothing where nobody counted: a gateway that died took the number along. */
function statementsOf(count: Json | undefined): string {
  if (typeof count !== 'number') return '';
  return `, ${count === 0 ? 'no statements' : count === 1 ? '1 statement' : `${count} statements`}`;
}

/** What is held: a statement, or an act in words; under a proof it is in what was signed. */
function held(content: Readonly<Record<string, Json>> | undefined): string {
  const signed = memberOf(memberOf(content?.['proof'], 'object'), 'text');
  if (typeof signed === 'string') return statementText({ text: signed });
  const words = content?.['words'] ?? memberOf(memberOf(content?.['proof'], 'object'), 'words');
  if (Array.isArray(words)) return wordOf(words[0]) ?? 'an act';
  return typeof content?.['text'] === 'string' ? statementText(content) : 'what was asked for';
}

function statementText(content: Readonly<Record<string, Json>> | undefined): string {
  const said = content?.['text'];
  // The gateway writes a text, or what was kept of a long one: its beginning, size and hash.
  const text = typeof said === 'string' ? said : (wordOf(memberOf(said, 'text')) ?? '(text erased)');
  // What `execute` runs is what somebody wants to know.
  const prepared = Array.isArray(content?.['prepared']) ? content['prepared'] : [];
  const whole = [text, ...prepared.map((one) => wordOf(memberOf(memberOf(one, 'text'), 'text')) ?? '(text erased)')];
  const line = whole.join(' → ').replace(/\s+/g, ' ').trim();
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}

/** Nothing where a statement was committed by itself. */
function within(
  { public: facts }: Entry,
  transaction: { readonly number: string; readonly state: string } | undefined,
): string {
  if (transaction === undefined || facts['transaction'] === 'committed') return '';
  const undoes = facts['undoes'];
  const back = undoes === undefined ? '' : `, back to statement ${wordOf(memberOf(undoes, 'statement')) ?? '?'}`;
  if (facts['transaction'] !== 'open') return ` · ${wordsOf(transaction.state)}`;
  const became = transaction.state === 'open' ? '' : `: ${wordsOf(transaction.state)}`;
  return `${back} · in transaction ${transaction.number}${became}`;
}

function wordsOf(outcome: Json | undefined): string {
  if (outcome === 'unknown') return 'committed or not, it is not known';
  return (wordOf(outcome) ?? 'not known').replaceAll('_', ' ');
}

function outcomeOf(facts: Entry['public'], error: string): string {
  const word = (name: string) => wordOf(facts[name]) ?? 'unknown';
  switch (facts['outcome']) {
    case 'completed':
      return word('tag');
    case 'suspended':
      return `${word('rows')} ${word('rows') === '1' ? 'row' : 'rows'} so far`;
    case 'failed':
      return `failed ${word('sqlState')}${error === '' ? '' : ` ${error}`}`;
    default:
      return word('outcome');
  }
}

function memberOf(value: Json | undefined, name: string): Json | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, Json>>)[name]
    : undefined;
}

function wordOf(value: Json | undefined): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

function listOf(value: Json | undefined): string {
  return Array.isArray(value) && value.length > 0 ? value.join(', ') : 'none';
}
