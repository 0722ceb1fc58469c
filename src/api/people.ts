/** People. Inviting and changing them are proofs (proofs.ts). */
import { readPrincipal, readPrincipals } from '#app/read-principals.ts';
import type { PrincipalId } from '#core/ids.ts';
import { map, type Handlers } from './handler.ts';
import { presentPage, presentPrincipal } from './present.ts';

export const peopleHandlers: Pick<Handlers, 'listPrincipals' | 'getPrincipal'> = {
  listPrincipals: async ({ app, caller, query }) => {
    const { search, cursor, limit } = query;
    const outcome = await readPrincipals(app, caller, {
      limit,
      ...(search === undefined ? {} : { search }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    return map(outcome, (page) => presentPage(page, presentPrincipal));
  },

  // The contract's schema has checked the form of the id.
  getPrincipal: async ({ app, caller, params }) =>
    map(await readPrincipal(app, caller, params.id as PrincipalId), presentPrincipal),
};
