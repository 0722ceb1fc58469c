/** Every read of the console: key, call and how often it is looked at again. Pages use these and nothing else. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import type { Client } from '#contract/client.ts';
import type { endpoints } from '#contract/endpoints.ts';
import type { InputOf } from '#contract/endpoint.ts';

type QueryOf<K extends keyof typeof endpoints> =
  InputOf<(typeof endpoints)[K]> extends { readonly query: infer Q } ? Q : never;

const seconds = (n: number) => n * 1000;

export const meQuery = (api: Client) =>
  queryOptions({ queryKey: ['me'], queryFn: ({ signal }) => api.me(undefined, signal), staleTime: seconds(30) });

export const rolesQuery = (api: Client) =>
  queryOptions({ queryKey: ['roles'], queryFn: ({ signal }) => api.listRoles(undefined, signal) });

export const requestsQuery = (api: Client, query: QueryOf<'listRequests'>) =>
  queryOptions({
    queryKey: ['requests', query],
    queryFn: ({ signal }) => api.listRequests({ query }, signal),
    placeholderData: keepPreviousData,
    refetchInterval: seconds(4),
  });

export const requestQuery = (api: Client, id: string) =>
  queryOptions({
    queryKey: ['request', id],
    queryFn: ({ signal }) => api.getRequest({ params: { id }, query: {} }, signal),
    refetchInterval: (query) => (query.state.data?.state === 'pending' ? seconds(4) : false),
  });

/** Somebody waits in front of a terminal: looked at often while it is held. */
export const holdsQuery = (api: Client, query: QueryOf<'listHolds'>) =>
  queryOptions({
    queryKey: ['holds', query],
    queryFn: ({ signal }) => api.listHolds({ query }, signal),
    placeholderData: keepPreviousData,
    refetchInterval: seconds(3),
  });

export const holdQuery = (api: Client, id: string) =>
  queryOptions({
    queryKey: ['hold', id],
    queryFn: ({ signal }) => api.getHold({ params: { id }, query: {} }, signal),
    refetchInterval: (query) =>
      query.state.data?.state === 'waiting' || query.state.data?.state === 'cured' ? seconds(1.5) : false,
  });

export const grantsQuery = (api: Client, query: QueryOf<'listGrants'>) =>
  queryOptions({
    queryKey: ['grants', query],
    queryFn: ({ signal }) => api.listGrants({ query }, signal),
    placeholderData: keepPreviousData,
    refetchInterval: seconds(5),
  });

export const grantQuery = (api: Client, id: string) =>
  queryOptions({
    queryKey: ['grant', id],
    queryFn: ({ signal }) => api.getGrant({ params: { id }, query: {} }, signal),
    refetchInterval: (query) => (query.state.data?.state === 'ended' ? false : seconds(5)),
  });

export const sessionsQuery = (api: Client, query: QueryOf<'listSessions'>) =>
  queryOptions({
    queryKey: ['sessions', query],
    queryFn: ({ signal }) => api.listSessions({ query }, signal),
    placeholderData: keepPreviousData,
    refetchInterval: seconds(5),
  });

export const sessionQuery = (api: Client, id: string) =>
  queryOptions({
    queryKey: ['session', id],
    queryFn: ({ signal }) => api.getSession({ params: { id } }, signal),
    refetchInterval: (query) => (query.state.data?.state === 'ended' ? false : seconds(4)),
  });

/** Reading others' entries is itself logged, so the log is not polled unless a page asks for it. */
export const logQuery = (api: Client, query: QueryOf<'listLog'>, everySeconds?: number) =>
  queryOptions({
    queryKey: ['log', query],
    queryFn: ({ signal }) => api.listLog({ query }, signal),
    placeholderData: keepPreviousData,
    refetchOnWindowFocus: false,
    refetchInterval: everySeconds === undefined ? false : seconds(everySeconds),
  });

export const principalsQuery = (api: Client, query: QueryOf<'listPrincipals'>) =>
  queryOptions({
    queryKey: ['principals', query],
    queryFn: ({ signal }) => api.listPrincipals({ query }, signal),
    placeholderData: keepPreviousData,
  });

export const principalQuery = (api: Client, id: string) =>
  queryOptions({
    queryKey: ['principal', id],
    queryFn: ({ signal }) => api.getPrincipal({ params: { id } }, signal),
  });

export const configurationQuery = (api: Client) =>
  queryOptions({ queryKey: ['configuration'], queryFn: ({ signal }) => api.getConfiguration(undefined, signal) });

export const planQuery = (api: Client, id: string) =>
  queryOptions({
    queryKey: ['plan', id],
    queryFn: ({ signal }) => api.getPlan({ params: { id }, query: {} }, signal),
    refetchInterval: (query) => (query.state.data?.state === 'open' ? seconds(5) : false),
  });
