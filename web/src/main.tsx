/**
 * Sallyport's console: a client of the API with no secrets of its own. Its state lives in the URL and in the query cache;
 * what a person may see or do is the server's answer, never this code's. `pages/` holds one file a page, `ceremony/` the
 * one way in which something is signed with a passkey, `ui/` the few parts that pages are made of.
 */
import './jitless.ts';
import './style.css';
import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ApiError } from '#contract/client.ts';
import { createApi, createPlainApi, isSignedOut } from './api/api.ts';
import { ContextProvider } from './api/context.tsx';
import { watchPresence } from './api/presence.ts';
import { createServerClock } from './api/server-clock.ts';
import { createSignInAgain } from './api/sign-in-again.ts';
import { createConsoleRouter } from './router.tsx';
import { SignInAgainDialog } from './shell/sign-in-again-dialog.tsx';

const signInAgain = createSignInAgain();
const clock = createServerClock(() => Date.now());
const api = createApi(clock, signInAgain.ask);

// A sign-in that has ended leads to the sign-in page and back, wherever it is noticed.
const onError = (error: unknown) => {
  if (!isSignedOut(error)) return;
  const { pathname, href } = router.state.location;
  if (pathname === '/sign-in' || pathname === '/enrol') return;
  queryClient.clear();
  void router.navigate({ to: '/sign-in', search: { to: href }, replace: true });
};

const queryClient: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError }),
  mutationCache: new MutationCache({ onError }),
  defaultOptions: {
    queries: {
      staleTime: 2000,
      // What the server has decided doesn't change by asking again; a lost connection may.
      retry: (count, error) => !(error instanceof ApiError && error.status < 500) && count < 2,
    },
  },
});

const router = createConsoleRouter({ api, queryClient });

watchPresence();

const root = document.getElementById('root');
if (root === null) throw new Error('find the root of the page');
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <ContextProvider value={{ api, plainApi: createPlainApi(clock), signInAgain, clock }}>
        <RouterProvider router={router} />
        <SignInAgainDialog />
      </ContextProvider>
    </QueryClientProvider>
  </StrictMode>,
);
