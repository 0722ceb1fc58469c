import { useMutation } from '@tanstack/react-query';
import type { CredentialView, GrantView } from '#contract/views.ts';
import { useApi } from '../api/context.tsx';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { Copyable } from '../ui/copy.tsx';
import { download } from '../ui/download.ts';
import { Facts } from '../ui/facts.tsx';
import { ErrorNotice, Notice } from '../ui/notice.tsx';
import { Section } from '../ui/page.tsx';
import { At } from '../ui/time.tsx';

/** How to connect under a grant: from a shell, or with a login for a database client of one's own. */
export function ConnectHelp({ grant }: { readonly grant: GrantView }) {
  const api = useApi();
  const issue = useMutation({ mutationFn: () => api.issueCredential({ params: { id: grant.id } }) });
  return (
    <Section title="Connect">
      <Card className="flex flex-col gap-6">
        <div className="flex flex-col gap-2">
          <p className="text-sm text-soft">In a shell, with psql:</p>
          <Copyable text={`sally connect ${grant.role}`} what="connect command" />
        </div>
        <div className="flex flex-col gap-2">
          <p className="text-sm text-soft">With any other program that reads the PG variables:</p>
          <Copyable
            text={`sally connect ${grant.role} -- pg_dump --table=public.orders`}
            what="command for a program"
          />
        </div>
        <div className="flex flex-col gap-3">
          <p className="text-sm text-soft">
            For a graphical client, make a login. It belongs to this grant, ends with it, and its password is shown
            once.
          </p>
          {issue.error !== null && <ErrorNotice error={issue.error} />}
          {issue.data === undefined ? (
            <div>
              <Button onClick={() => issue.mutate()} busy={issue.isPending && 'Making a login…'}>
                Make a login
              </Button>
            </div>
          ) : (
            <Credential credential={issue.data} />
          )}
        </div>
      </Card>
    </Section>
  );
}

const caFile = 'sallyport-ca.pem';

/** The form of libpq (PostgreSQL 34.1.1.2): what a client takes in one piece. */
function connectionUri(of: CredentialView): string {
  const host = of.host.includes(':') ? `[${of.host}]` : of.host;
  const user = encodeURIComponent(of.user);
  const password = encodeURIComponent(of.password);
  const database = encodeURIComponent(of.database);
  return `postgresql://${user}:${password}@${host}:${of.port}/${database}?sslmode=${of.sslmode}&sslrootcert=${caFile}`;
}

function Credential({ credential }: { readonly credential: CredentialView }) {
  return (
    <div className="fade-in flex flex-col gap-4">
      <Notice tone="warn" title="Copy it now">
        The password can’t be shown again. It works until <At at={credential.expiresAt} />.
      </Notice>
      <Copyable text={connectionUri(credential)} what="connection string" />
      <Facts
        facts={[
          ['Host', <Mono key="host">{credential.host}</Mono>],
          ['Port', <Mono key="port">{String(credential.port)}</Mono>],
          ['Database', <Mono key="database">{credential.database}</Mono>],
          ['User', <Mono key="user">{credential.user}</Mono>],
          ['Password', <Mono key="password">{credential.password}</Mono>],
          ['SSL mode', <Mono key="sslmode">{credential.sslmode}</Mono>],
          [
            'Root certificate',
            <Button key="ca" onClick={() => download(caFile, 'application/x-pem-file', credential.caCertificate)}>
              Download {caFile}
            </Button>,
          ],
        ]}
      />
    </div>
  );
}

const Mono = ({ children }: { readonly children: string }) => (
  <code className="font-mono text-sm break-all select-all">{children}</code>
);
