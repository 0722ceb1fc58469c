/** What pages need besides their own state: the API, the sign-in dialog and the time. Made once, in main.tsx. */
import { createContext, type ReactNode, useContext } from 'react';
import type { Client } from '#contract/client.ts';
import type { ServerClock } from './server-clock.ts';
import type { SignInAgain } from './sign-in-again.ts';

export type Context = {
  readonly api: Client;
  /** Without the dialog, for the sign-in itself and for strangers. */
  readonly plainApi: Client;
  readonly signInAgain: SignInAgain;
  readonly clock: ServerClock;
};

const Given = createContext<Context | undefined>(undefined);

export function ContextProvider({ value, children }: { readonly value: Context; readonly children: ReactNode }) {
  return <Given value={value}>{children}</Given>;
}

export function useContextOfApp(): Context {
  const value = useContext(Given);
  if (value === undefined) throw new Error('use the context outside of its provider');
  return value;
}

export const useApi = (): Client => useContextOfApp().api;
