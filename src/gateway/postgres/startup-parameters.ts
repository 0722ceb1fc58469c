/**
 * What a client may say at the start. A list of what is allowed: start-up parameters become settings of the session, and
 * `options` can set any (CVE-2021-41395 was such a string). Values are checked here too, so that nothing but the database
 * sees only what somebody has looked at.
 */

export type StartupAsk = {
  readonly user: string;
  readonly database: string;
  readonly applicationName: string | undefined;
  /** For the target, under the server's own spelling. */
  readonly settings: ReadonlyMap<string, string>;
  /** Protocol options we don't know, for NegotiateProtocolVersion. */
  readonly unknownOptions: readonly string[];
};

export type StartupOutcome =
  | { readonly kind: 'accepted'; readonly ask: StartupAsk }
  | { readonly kind: 'refused'; readonly sqlState: string; readonly message: string; readonly hint?: string };

/** Settings that say how values are written, not what is done. */
const settings: ReadonlyMap<string, { readonly name: string; readonly value: RegExp }> = new Map([
  ['application_name', { name: 'application_name', value: /^[\x20-\x7e]{0,200}$/ }],
  ['datestyle', { name: 'DateStyle', value: /^[A-Za-z]+(?:, ?[A-Za-z]+)?$/ }],
  ['intervalstyle', { name: 'IntervalStyle', value: /^[a-z_]{1,40}$/ }],
  ['timezone', { name: 'TimeZone', value: /^[A-Za-z0-9_+\-/:.<>,]{1,100}$/ }],
  ['extra_float_digits', { name: 'extra_float_digits', value: /^-?\d{1,2}$/ }],
]);

const refuse = (sqlState: string, message: string, hint?: string): StartupOutcome => ({
  kind: 'refused',
  sqlState,
  message: `sallyport: ${message}`,
  ...(hint === undefined ? {} : { hint }),
});

export function readStartup(parameters: ReadonlyMap<string, string>): StartupOutcome {
  let user = '';
  let database = '';
  const accepted = new Map<string, string>();
  const unknownOptions: string[] = [];
  for (const [name, value] of parameters) {
    const lower = name.toLowerCase();
    if (lower.startsWith('_pq_.')) {
      unknownOptions.push(name);
      continue;
    }
    switch (lower) {
      case 'user':
        user = value;
        continue;
      case 'database':
        database = value;
        continue;
      case 'client_encoding':
        // INVARIANT 7: what is judged is UTF-8, so that is what the server must read.
        if (!/^'?(?:utf-?8|unicode)'?$/i.test(value))
          return refuse('0A000', `client_encoding must be UTF8, not \`${value.slice(0, 40)}\``);
        continue;
      case 'replication':
        if (!/^(?:false|off|no|0)$/i.test(value)) return refuse('0A000', 'replication connections are not supported');
        continue;
      case 'options':
        if (value.trim() !== '')
          return refuse('0A000', 'start-up options are not accepted', 'Unset PGOPTIONS, and use `set` in the session.');
        continue;
      default: {
        const setting = settings.get(lower);
        if (setting === undefined)
          return refuse(
            '0A000',
            `start-up parameter \`${name.slice(0, 63)}\` is not accepted`,
            'Use `set` in the session.',
          );
        if (!setting.value.test(value)) {
          // Somebody's application name must not keep them out.
          if (setting.name === 'application_name')
            accepted.set(setting.name, value.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 200));
          else return refuse('22023', `invalid value for \`${setting.name}\``);
        } else accepted.set(setting.name, value);
      }
    }
  }
  if (user === '' || user.length > 128) return refuse('28000', 'no user name was given');
  accepted.set('client_encoding', 'UTF8');
  return {
    kind: 'accepted',
    ask: {
      user,
      database: database === '' ? user : database,
      applicationName: accepted.get('application_name'),
      settings: accepted,
      unknownOptions,
    },
  };
}
