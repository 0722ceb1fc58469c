import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useApi } from '../api/context.tsx';
import { configurationQuery } from '../api/queries.ts';
import { SourceText } from '../configuration/source-text.tsx';
import { Card } from '../ui/card.tsx';
import { Choices } from '../ui/choices.tsx';
import { Copyable } from '../ui/copy.tsx';
import { Facts } from '../ui/facts.tsx';
import { Empty } from '../ui/notice.tsx';
import { Page } from '../ui/page.tsx';
import { Queried } from '../ui/queried.tsx';
import { Ago } from '../ui/time.tsx';

const route = getRouteApi('/_app/configuration');

/** The configuration in force, to read. It is changed by files and a signed plan, not here. */
export function ConfigurationPage() {
  const { file } = route.useSearch();
  const query = useQuery(configurationQuery(useApi()));
  return (
    <Page
      title="Configuration"
      lead="The files in force. Change them where you keep them, then plan and apply from there."
    >
      <Queried query={query}>
        {({ version, hash, appliedAt, files }) => {
          const all =
            files === null
              ? []
              : [{ name: files.file, text: files.text }, ...files.policies.map(({ name, text }) => ({ name, text }))];
          const shown = all.find(({ name }) => name === file) ?? all[0];
          return (
            <>
              <Card className="flex flex-col gap-5">
                <Facts
                  facts={[
                    [
                      'Version',
                      <code key="version" className="font-mono text-sm break-all">
                        {version}
                      </code>,
                    ],
                    [
                      'SHA-256',
                      <code key="hash" className="font-mono text-xs break-all">
                        {hash}
                      </code>,
                    ],
                    [
                      'Applied',
                      appliedAt === null ? 'never: this is what was shipped' : <Ago key="at" at={appliedAt} />,
                    ],
                  ]}
                />
                <Copyable text="sally apply" what="apply command" />
              </Card>
              {shown === undefined ? (
                <Empty title="No files have been applied yet" />
              ) : (
                <div className="flex flex-col gap-3">
                  <Choices
                    label="Files"
                    look="tabs"
                    choices={all.map(({ name }) => ({
                      key: name,
                      label: name,
                      current: name === shown.name,
                      link: { to: '/configuration', search: { file: name } },
                    }))}
                  />
                  <SourceText name={shown.name} text={shown.text} />
                </div>
              )}
            </>
          );
        }}
      </Queried>
    </Page>
  );
}
