import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useLocation, useRouter } from '@tanstack/react-router';
import { useState } from 'react';
import { z } from 'zod';
import { handle as handleSchema, type link as linkSchema } from '#contract/views.ts';
import { useContextOfApp } from '../api/context.tsx';
import { meQuery } from '../api/queries.ts';
import { enrolPasskey } from '../ceremony/passkey.ts';
import { thisDevice } from '../format/this-device.ts';
import { StrangerPage } from '../shell/stranger-page.tsx';
import { Button } from '../ui/button.tsx';
import { TextField } from '../ui/field.tsx';
import { ErrorNotice, Loading, Notice } from '../ui/notice.tsx';
import { Ago } from '../ui/time.tsx';

/** A one-time link: its token is in the fragment, which a browser sends to nobody. */
export function EnrolPage() {
  const { plainApi } = useContextOfApp();
  const token = useLocation({ select: ({ hash }) => hash });
  const link = useQuery({
    queryKey: ['link', token],
    queryFn: ({ signal }) => plainApi.inspectLink({ body: { token } }, signal),
    enabled: token !== '',
    gcTime: 0,
    retry: false,
    staleTime: Infinity,
  });
  if (token === '' || link.error !== null)
    return (
      <StrangerPage title="This link does not work">
        <Notice tone="bad" title="It was used, it ran out, or it is incomplete.">
          Each one-time link works once and for a short time. Ask for a new one where you got it.
        </Notice>
      </StrangerPage>
    );
  if (link.data === undefined)
    return (
      <StrangerPage title="Enrol a passkey">
        <Loading lines={2} />
      </StrangerPage>
    );
  return <EnrolForm token={token} link={link.data} />;
}

function EnrolForm({ token, link }: { readonly token: string; readonly link: z.infer<typeof linkSchema> }) {
  const { api, plainApi } = useContextOfApp();
  const queryClient = useQueryClient();
  const router = useRouter();
  const [handle, setHandle] = useState('');
  const [name, setName] = useState('');
  const [authenticatorName, setAuthenticatorName] = useState(() => thisDevice(navigator.userAgent));
  const isFirst = link.principal === null;
  const handleFault = handle === '' ? undefined : handleSchema.safeParse(handle).error?.issues[0]?.message;
  const enrol = useMutation({
    mutationFn: () =>
      enrolPasskey(plainApi, {
        token,
        who: isFirst ? { handle, name } : undefined,
        authenticatorName,
      }),
    onSuccess: (me) => {
      queryClient.clear();
      queryClient.setQueryData(meQuery(api).queryKey, me);
      router.history.replace('/');
    },
  });
  const missing =
    isFirst && (handle === '' || handleFault !== undefined)
      ? 'Choose a handle first.'
      : isFirst && name.trim() === ''
        ? 'Say your name first.'
        : authenticatorName.trim() === ''
          ? 'Name the passkey first.'
          : undefined;
  return (
    <StrangerPage title={link.principal === null ? 'Set up Sallyport' : `Welcome, ${link.principal.name}`}>
      <p className="text-sm text-soft">
        {link.principal === null
          ? 'You are its first administrator. Say who you are, then make a passkey on this device.'
          : 'Make a passkey on this device. From then on it is how you sign in and how you approve.'}
      </p>
      <form
        className="flex flex-col gap-5"
        onSubmit={(event) => {
          event.preventDefault();
          if (missing === undefined && !enrol.isPending) enrol.mutate();
        }}
      >
        {link.principal === null ? (
          <>
            <TextField
              label="Handle"
              value={handle}
              onChange={setHandle}
              help="Short and lower case, for example ada. It stays the same for good."
              error={
                handleFault === undefined ? undefined : 'Lower-case letters and digits, with single . _ - between.'
              }
              autoFocus
              mono
            />
            <TextField label="Your name" value={name} onChange={setName} autoComplete="name" maxLength={200} />
          </>
        ) : (
          <p className="rounded-lg bg-sunken px-4 py-3 text-sm">
            {link.principal.name} <span className="font-mono text-soft">({link.principal.handle})</span>
          </p>
        )}
        <TextField
          label="Name of this passkey"
          value={authenticatorName}
          onChange={setAuthenticatorName}
          help="So that you can tell your passkeys apart later."
          maxLength={200}
        />
        {enrol.error !== null && <ErrorNotice error={enrol.error} />}
        <Button
          type="submit"
          look="primary"
          full
          disabledBecause={missing}
          busy={enrol.isPending && 'Waiting for your device…'}
        >
          Make a passkey
        </Button>
        <p className="text-xs text-faint">
          This link stops working <Ago at={link.expiresAt} />.
        </p>
      </form>
    </StrangerPage>
  );
}
