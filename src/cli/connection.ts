/** How a credential is handed to a program: as libpq's environment variables, or as text to paste. */
import type { CredentialView } from '#contract/views.ts';
import type { Environment } from './config-folder.ts';

export const formats = ['uri', 'env', 'psql', 'jdbc'] as const;
export type Format = (typeof formats)[number];

function variables(credential: CredentialView, caFile: string): Readonly<Record<string, string>> {
  return {
    PGHOST: credential.host,
    PGPORT: String(credential.port),
    PGDATABASE: credential.database,
    PGUSER: credential.user,
    PGPASSWORD: credential.password,
    PGSSLMODE: credential.sslmode,
    PGSSLROOTCERT: caFile,
  };
}

/** What else libpq reads that would lead elsewhere, or present what isn't meant for the gateway. */
const misleading = [
  'PGHOSTADDR',
  'PGSERVICE',
  'PGSERVICEFILE',
  'PGPASSFILE',
  'PGREQUIREPEER',
  'PGSSLCERT',
  'PGSSLKEY',
  'PGSSLCRL',
  'PGSSLCRLDIR',
  'PGTARGETSESSIONATTRS',
];

export function connectionEnvironment(
  env: Environment,
  credential: CredentialView,
  caFile: string,
): Record<string, string | undefined> {
  const result: Record<string, string | undefined> = { ...env, ...variables(credential, caFile) };
  for (const name of misleading) delete result[name];
  return result;
}

export function connectionString(format: Format, credential: CredentialView, caFile: string): string {
  switch (format) {
    case 'uri':
      return uri(credential, caFile, true);
    case 'env':
      return Object.entries(variables(credential, caFile))
        .map(([name, value]) => `export ${name}=${shellQuoted(value)}`)
        .join('\n');
    case 'psql':
      // The password stands before the command, in its environment: what stands behind it every user can read.
      return `PGPASSWORD=${shellQuoted(credential.password)} psql ${shellQuoted(uri(credential, caFile, false))}`;
    case 'jdbc': {
      const query = new URLSearchParams({
        user: credential.user,
        password: credential.password,
        sslmode: credential.sslmode,
        sslrootcert: caFile,
      });
      return `jdbc:postgresql://${hostOf(credential)}:${credential.port}/${encodeURIComponent(credential.database)}?${encoded(query)}`;
    }
  }
}

/** The URI of libpq (PostgreSQL documentation, 34.1.1.2): everything percent-encoded, spaces as %20 and not as `+`. */
function uri(credential: CredentialView, caFile: string, withPassword: boolean): string {
  const password = withPassword ? `:${encodeURIComponent(credential.password)}` : '';
  const query = new URLSearchParams({ sslmode: credential.sslmode, sslrootcert: caFile });
  return `postgresql://${encodeURIComponent(credential.user)}${password}@${hostOf(credential)}:${credential.port}/${encodeURIComponent(credential.database)}?${encoded(query)}`;
}

function encoded(query: URLSearchParams): string {
  return [...query].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
}

function hostOf({ host }: CredentialView): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** One word for a POSIX shell, whatever is in it. */
function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
