/** Sessions. What was done in one is in the log (log.ts). */
import { readSession, readSessions } from '#app/read-sessions.ts';
import type { GrantId, SessionId } from '#core/ids.ts';
import { map, type Handlers } from './handler.ts';
import { presentPage, presentSession } from './present.ts';

// The contract's schemas have checked the form of ids; `as` says so to the compiler.
export const sessionHandlers: Pick<Handlers, 'listSessions' | 'getSession'> = {
  listSessions: async ({ app, caller, query }) => {
    const { scope, state, grant, cursor, limit } = query;
    const page = await readSessions(app, caller, {
      scope,
      limit,
      ...(state === undefined ? {} : { state }),
      ...(grant === undefined ? {} : { grant: grant as GrantId }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    return { kind: 'done', value: presentPage(page, presentSession) };
  },

  getSession: async ({ app, caller, params }) =>
    map(await readSession(app, caller, params.id as SessionId), presentSession),
};
