/**
 * What a client may say at the start. Start-up parameters become settings of the session, and `options` can set any
 * (CVE-2021-41395 was such a string): both are taken apart here as the server does it. Settings that say how values are
 * written pass by their form; every other is judged as the `set` that it amounts to (`open-session.ts`), so that nothing but
 * the database sees only what somebody has looked at.
 */

export type StartupAsk = {
  readonly user: string;
  readonly database: string;
  readonly applicationName: string | undefined;
  /** For the target, by lower-case name. */
  readonly settings: ReadonlyMap<string, string>;
  /** Those of them that have to be judged. */
  readonly judged: readonly string[];
  /** Protocol options we don't know, for NegotiateProtocolVersion. */
  readonly unknownOptions: readonly string[];
};

export type StartupOutcome =
  | { readonly kind: 'accepted'; readonly ask: StartupAsk }
  | { readonly kind: 'refused'; readonly sqlState: string; readonly message: string; readonly hint?: string };

/** Settings that say how values are written, not what is done. */
const formats: ReadonlyMap<string, RegExp> = new Map([
  ['datestyle', /^[A-Za-z]+(?:, ?[A-Za-z]+)?$/],
  ['intervalstyle', /^[a-z_]{1,40}$/],
  ['timezone', /^[A-Za-z0-9_+\-/:.<>,]{1,100}$/],
  ['extra_float_digits', /^-?\d{1,2}$/],
]);
const maxJudged = 32;

const refuse = (sqlState: string, message: string, hint?: string): StartupOutcome => ({
  kind: 'refused',
  sqlState,
  message: `sallyport: ${message}`,
  ...(hint === undefined ? {} : { hint }),
});

/**
 * `user`, `database`, `options` and `replication` are these exact words to the server (ProcessStartupPacket); any other name
 * is that of a setting, in any case.
 */
export function readStartup(parameters: ReadonlyMap<string, string>): StartupOutcome {
  let user = '';
  let database = '';
  let options: readonly (readonly [string, string])[] | undefined = [];
  const named: (readonly [string, string])[] = [];
  const unknownOptions: string[] = [];
  for (const [name, value] of parameters) {
    if (name.startsWith('_pq_.')) unknownOptions.push(name);
    else if (name === 'user') user = asName(value);
    else if (name === 'database') database = asName(value);
    else if (name === 'options') options = readOptions(value);
    else if (name === 'replication') {
      if (!/^(?:false|off|no|0|f|n)$/i.test(value)) return refuse('0A000', 'replication connections are not supported');
    } else named.push([name, value]);
  }
  if (user === '') return refuse('28000', 'no user name was given');
  if (options === undefined)
    return refuse('42601', 'in the start-up options there is something else than settings', 'Write `-c name=value`.');
  const settings = new Map<string, string>();
  const judged: string[] = [];
  // What stands by itself goes before what is in the options, as with the server.
  for (const [name, value] of [...options, ...named]) {
    const lower = name.toLowerCase();
    if (!/^[a-z_][a-z0-9_$.]{0,62}$/.test(lower))
      return refuse('42602', `\`${shown(name)}\` is not the name of a setting`);
    if (lower === 'client_encoding') {
      // INVARIANT 7: what is judged is UTF-8, so that is what the server must read.
      if (!/^'?(?:utf-?8|unicode)'?$/i.test(value))
        return refuse('0A000', `client_encoding must be UTF8, not \`${shown(value)}\``);
      continue;
    }
    if (lower === 'application_name') {
      // Somebody's application name must not keep them out. The server does the same.
      settings.set(lower, value.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 63));
      continue;
    }
    const format = formats.get(lower);
    if (format !== undefined && !format.test(value)) return refuse('22023', `invalid value for \`${shown(name)}\``);
    if (format === undefined && !judged.includes(lower)) judged.push(lower);
    settings.set(lower, value);
  }
  if (judged.length > maxJudged) return refuse('54000', 'too many start-up parameters');
  settings.set('client_encoding', 'UTF8');
  // INVARIANT 7: whatever the target's database or role has it set to, strings must end where the parser here believes.
  if (!settings.has('standard_conforming_strings')) settings.set('standard_conforming_strings', 'on');
  return {
    kind: 'accepted',
    ask: {
      user,
      database: database === '' ? user : database,
      applicationName: settings.get('application_name'),
      settings,
      judged,
      unknownOptions,
    },
  };
}

const shown = (text: string): string => text.slice(0, 63).toWellFormed();

/** INVARIANT 7: the server cuts the names of users and databases to 63 bytes, so those are the names that count. */
function asName(text: string): string {
  const bytes = Buffer.from(text);
  return bytes.length <= 63 ? text : bytes.toString('utf8', 0, 63);
}

/**
 * `-c name=value`, `-cname=value` and `--name=value`, parted by blanks; a backslash takes the next character as it is
 * (pg_split_opts). A hyphen in a name stands for an underscore (ParseLongOption). Undefined when there is anything else.
 */
function readOptions(text: string): readonly (readonly [string, string])[] | undefined {
  const words = text.match(/(?:\\[^]|[^\s\\])+/g) ?? [];
  if (text.replaceAll(/\\[^]/g, '').includes('\\')) return undefined;
  const settings: (readonly [string, string])[] = [];
  for (let i = 0; i < words.length; i += 1) {
    let word = (words[i] ?? '').replaceAll(/\\([^])/g, '$1');
    if (word === '-c') {
      i += 1;
      word = `-c${(words[i] ?? '').replaceAll(/\\([^])/g, '$1')}`;
    }
    const [, name, value] = /^(?:-c|--)([^=]+)=([^]*)$/.exec(word) ?? [];
    if (name === undefined || value === undefined) return undefined;
    settings.push([name.replaceAll('-', '_'), value]);
  }
  return settings;
}
