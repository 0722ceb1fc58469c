import { useState } from 'react';
import type { PrincipalView } from '#contract/views.ts';
import { Ceremony } from '../ceremony/ceremony.tsx';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { TextField } from '../ui/field.tsx';
import { Notice } from '../ui/notice.tsx';
import { parseGroups } from './groups.ts';
import { OneTimeLink } from './one-time-link.tsx';

type Doing =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'editing_groups' }
  | {
      readonly kind: 'changing';
      readonly groups: string[];
      readonly state: 'active' | 'suspended';
      readonly title: string;
    }
  | { readonly kind: 'renewing' }
  | { readonly kind: 'renewed'; readonly url: string; readonly expiresAt: string }
  | { readonly kind: 'changed' };

/** Changes to somebody's account. Each is signed. */
export function ChangePerson({ person }: { readonly person: PrincipalView }) {
  const [doing, setDoing] = useState<Doing>({ kind: 'nothing' });
  const stop = () => setDoing({ kind: 'nothing' });
  const stateNow = person.state === 'suspended' ? 'suspended' : 'active';
  switch (doing.kind) {
    case 'changing':
      return (
        <Ceremony
          ask={{ purpose: 'change_principal', principal: person.id, groups: doing.groups, state: doing.state }}
          title={doing.title}
          onDone={() => setDoing({ kind: 'changed' })}
          onClose={stop}
        />
      );
    case 'renewing':
      return (
        <Ceremony
          ask={{ purpose: 'enrol_authenticator', principal: person.id }}
          title={`New one-time link for ${person.name}`}
          onDone={({ link }) => setDoing({ kind: 'renewed', ...link })}
          onClose={stop}
        />
      );
    case 'editing_groups':
      return (
        <EditGroups
          person={person}
          onReview={(groups) =>
            setDoing({ kind: 'changing', groups, state: stateNow, title: `Change the groups of ${person.name}` })
          }
          onClose={stop}
        />
      );
    case 'renewed':
    case 'changed':
    case 'nothing':
      return (
        <div className="flex flex-col gap-4">
          {doing.kind === 'renewed' && <OneTimeLink url={doing.url} expiresAt={doing.expiresAt} name={person.name} />}
          {doing.kind === 'changed' && <Notice tone="good" title="Changed and signed" />}
          <div className="flex flex-wrap items-start gap-2">
            <Button onClick={() => setDoing({ kind: 'editing_groups' })}>Change groups</Button>
            <Button
              onClick={() => setDoing({ kind: 'renewing' })}
              disabledBecause={person.state === 'suspended' ? 'A suspended account gets no link.' : undefined}
            >
              New one-time link
            </Button>
            {person.state === 'suspended' ? (
              <Button
                onClick={() =>
                  setDoing({
                    kind: 'changing',
                    groups: person.groups,
                    state: 'active',
                    title: `Let ${person.name} back in`,
                  })
                }
              >
                Let back in
              </Button>
            ) : (
              <Button
                look="danger"
                onClick={() =>
                  setDoing({
                    kind: 'changing',
                    groups: person.groups,
                    state: 'suspended',
                    title: `Suspend ${person.name}`,
                  })
                }
              >
                Suspend
              </Button>
            )}
          </div>
        </div>
      );
    default:
      return doing satisfies never;
  }
}

function EditGroups(props: {
  readonly person: PrincipalView;
  readonly onReview: (groups: string[]) => void;
  readonly onClose: () => void;
}) {
  const { person, onReview, onClose } = props;
  const [text, setText] = useState(person.groups.join(', '));
  const { groups, fault } = parseGroups(text);
  const isSame = groups.join() === [...person.groups].sort().join();
  const missing = fault === undefined ? (isSame ? 'Nothing is changed yet.' : undefined) : 'Correct the groups.';
  return (
    <Card className="fade-in">
      <form
        className="flex flex-col gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (missing === undefined) onReview(groups);
        }}
      >
        <TextField
          label="Groups"
          value={text}
          onChange={setText}
          help="Taking somebody out of a group ends what it gave them, open sessions included."
          error={fault}
          mono
          autoFocus
        />
        <div className="flex flex-wrap items-start gap-2">
          <Button type="submit" look="primary" disabledBecause={missing}>
            Review
          </Button>
          <Button look="quiet" onClick={onClose}>
            Cancel
          </Button>
        </div>
      </form>
    </Card>
  );
}
