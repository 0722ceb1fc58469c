/** Which URL shows which page. Pages behind `_app` need somebody signed in. */
import type { QueryClient } from '@tanstack/react-query';
import { createRootRouteWithContext, createRoute, createRouter, Outlet, redirect } from '@tanstack/react-router';
import type { Client } from '#contract/client.ts';
import { isSignedOut } from './api/api.ts';
import { meQuery } from './api/queries.ts';
import { AuthorizePage } from './pages/authorize.tsx';
import { ConfigurationPage } from './pages/configuration.tsx';
import { EnrolPage } from './pages/enrol.tsx';
import { GrantPage } from './pages/grant.tsx';
import { GrantsPage } from './pages/grants.tsx';
import { HoldPage } from './pages/hold.tsx';
import { HomePage } from './pages/home.tsx';
import { LogPage } from './pages/log.tsx';
import { NewRequestPage } from './pages/new-request.tsx';
import { NotFoundPage } from './pages/not-found.tsx';
import { PeoplePage } from './pages/people.tsx';
import { PersonPage } from './pages/person.tsx';
import { PlanPage } from './pages/plan.tsx';
import { RequestPage } from './pages/request.tsx';
import { RequestsPage } from './pages/requests.tsx';
import { SessionPage } from './pages/session.tsx';
import { SessionsPage } from './pages/sessions.tsx';
import { SignInPage } from './pages/sign-in.tsx';
import * as search from './search.ts';
import { FailedPage } from './shell/failed-page.tsx';
import { Shell } from './shell/shell.tsx';

type RouterContext = { readonly api: Client; readonly queryClient: QueryClient };

const root = createRootRouteWithContext<RouterContext>()({
  component: Outlet,
  notFoundComponent: NotFoundPage,
  errorComponent: FailedPage,
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  validateSearch: search.signInSearch,
  component: SignInPage,
});
const enrol = createRoute({ getParentRoute: () => root, path: '/enrol', component: EnrolPage });

const app = createRoute({
  getParentRoute: () => root,
  id: '_app',
  component: Shell,
  beforeLoad: async ({ context, location }) => {
    try {
      await context.queryClient.ensureQueryData(meQuery(context.api));
    } catch (error) {
      if (!isSignedOut(error)) throw error;
      // A redirect is thrown: that is TanStack Router's way to leave a load.
      throw redirect({ to: '/sign-in', search: { to: location.href }, replace: true });
    }
  },
});

const home = createRoute({ getParentRoute: () => app, path: '/', component: HomePage });
const requests = createRoute({
  getParentRoute: () => app,
  path: '/requests',
  validateSearch: search.requestsSearch,
  component: RequestsPage,
});
const newRequest = createRoute({
  getParentRoute: () => app,
  path: '/requests/new',
  validateSearch: search.newRequestSearch,
  component: NewRequestPage,
});
const request = createRoute({ getParentRoute: () => app, path: '/requests/$id', component: RequestPage });
const hold = createRoute({ getParentRoute: () => app, path: '/holds/$id', component: HoldPage });
/** Short, since it is read from a terminal. */
const shortHold = createRoute({
  getParentRoute: () => app,
  path: '/h/$id',
  beforeLoad: ({ params }) => {
    throw redirect({ to: '/holds/$id', params, replace: true });
  },
});
const grants = createRoute({
  getParentRoute: () => app,
  path: '/grants',
  validateSearch: search.grantsSearch,
  component: GrantsPage,
});
const grant = createRoute({ getParentRoute: () => app, path: '/grants/$id', component: GrantPage });
const sessions = createRoute({
  getParentRoute: () => app,
  path: '/sessions',
  validateSearch: search.sessionsSearch,
  component: SessionsPage,
});
const session = createRoute({
  getParentRoute: () => app,
  path: '/sessions/$id',
  validateSearch: search.sessionSearch,
  component: SessionPage,
});
const log = createRoute({
  getParentRoute: () => app,
  path: '/log',
  validateSearch: search.logSearch,
  component: LogPage,
});
const people = createRoute({
  getParentRoute: () => app,
  path: '/people',
  validateSearch: search.peopleSearch,
  component: PeoplePage,
});
const person = createRoute({ getParentRoute: () => app, path: '/people/$id', component: PersonPage });
const configuration = createRoute({
  getParentRoute: () => app,
  path: '/configuration',
  validateSearch: search.configurationSearch,
  component: ConfigurationPage,
});
const plan = createRoute({ getParentRoute: () => app, path: '/plans/$id', component: PlanPage });
const authorize = createRoute({
  getParentRoute: () => app,
  path: '/authorize',
  validateSearch: search.authorizeSearch,
  component: AuthorizePage,
});

const routeTree = root.addChildren([
  signIn,
  enrol,
  app.addChildren([
    home,
    requests,
    newRequest,
    request,
    hold,
    shortHold,
    grants,
    grant,
    sessions,
    session,
    log,
    people,
    person,
    configuration,
    plan,
    authorize,
  ]),
]);

export function createConsoleRouter(context: RouterContext) {
  return createRouter({
    routeTree,
    context,
    parseSearch: search.parseSearch,
    stringifySearch: search.stringifySearch,
    scrollRestoration: true,
    defaultErrorComponent: FailedPage,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof createConsoleRouter>;
  }
}
