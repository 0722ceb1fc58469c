import { useState } from 'react';
import type { ProofDone } from '#contract/views.ts';
import { handle as handleSchema } from '#contract/views.ts';
import { Ceremony } from '../ceremony/ceremony.tsx';
import { Button } from '../ui/button.tsx';
import { Card } from '../ui/card.tsx';
import { TextField } from '../ui/field.tsx';
import { parseGroups } from './groups.ts';
import { OneTimeLink } from './one-time-link.tsx';

type Invited = Extract<ProofDone, { readonly purpose: 'invite_principal' }>;
type Asked = { readonly handle: string; readonly name: string; readonly groups: string[] };

/** Invites somebody: who, then the proof, then their one-time link. */
export function Invite({ onClose }: { readonly onClose: () => void }) {
  const [asked, setAsked] = useState<Asked | undefined>(undefined);
  const [isSigning, setSigning] = useState(false);
  const [done, setDone] = useState<Invited | undefined>(undefined);
  if (done !== undefined)
    return (
      <Card className="flex flex-col gap-4">
        <OneTimeLink url={done.link.url} expiresAt={done.link.expiresAt} name={done.principal.name} />
        <div className="flex flex-wrap gap-2">
          <Button
            onClick={() => {
              setDone(undefined);
              setAsked(undefined);
            }}
          >
            Invite somebody else
          </Button>
          <Button look="quiet" onClick={onClose}>
            Done
          </Button>
        </div>
      </Card>
    );
  if (asked !== undefined && isSigning)
    return (
      <Ceremony
        ask={{ purpose: 'invite_principal', ...asked }}
        title={`Invite ${asked.name}`}
        onDone={(invited) => {
          setDone(invited);
          setSigning(false);
        }}
        onClose={() => setSigning(false)}
      />
    );
  return (
    <InviteForm
      before={asked}
      onAsk={(who) => {
        setAsked(who);
        setSigning(true);
      }}
      onClose={onClose}
    />
  );
}

function InviteForm(props: {
  readonly before: Asked | undefined;
  readonly onAsk: (asked: Asked) => void;
  readonly onClose: () => void;
}) {
  const { before, onAsk, onClose } = props;
  const [handle, setHandle] = useState(before?.handle ?? '');
  const [name, setName] = useState(before?.name ?? '');
  const [groupsText, setGroupsText] = useState(before?.groups.join(', ') ?? '');
  const { groups, fault } = parseGroups(groupsText);
  const isHandle = handleSchema.safeParse(handle).success;
  const missing = !isHandle
    ? 'Choose a handle.'
    : name.trim() === ''
      ? 'Say their name.'
      : fault === undefined
        ? undefined
        : 'Correct the groups.';
  return (
    <Card className="fade-in">
      <form
        className="flex flex-col gap-5"
        onSubmit={(event) => {
          event.preventDefault();
          if (missing === undefined) onAsk({ handle, name: name.trim(), groups });
        }}
      >
        <h2 className="text-lg font-semibold">Invite somebody</h2>
        <div className="grid gap-5 sm:grid-cols-2">
          <TextField
            label="Handle"
            value={handle}
            onChange={setHandle}
            help="Short and lower case, for example ada. It stays."
            error={handle === '' || isHandle ? undefined : 'Lower-case letters and digits, with single . _ - between.'}
            mono
            autoFocus
          />
          <TextField label="Name" value={name} onChange={setName} maxLength={200} />
        </div>
        <TextField
          label="Groups"
          optional
          value={groupsText}
          onChange={setGroupsText}
          placeholder="engineering, dba"
          help="What the configuration gives roles and approvals to."
          error={fault}
          mono
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
