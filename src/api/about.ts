/** What runs here, and who is asking. */
import type { Handlers } from './handler.ts';
import { presentMe } from './present.ts';

export const about: Pick<Handlers, 'about' | 'me'> = {
  about: ({ app, version }) =>
    Promise.resolve({
      kind: 'done',
      value: {
        name: 'sallyport',
        version,
        publicUrl: app.site.publicUrl,
        logKey: app.logSigner.vkey,
        postgres: { host: app.site.postgres.host, port: app.site.postgres.port },
      },
    }),

  me: async ({ app, caller }) => ({ kind: 'done', value: await presentMe(app, caller) }),
};
