/** Every endpoint and its handler. An endpoint of the contract without one doesn't compile. */
import { about } from './about.ts';
import { configurationHandlers } from './configuration.ts';
import { grantHandlers } from './grants.ts';
import type { Handlers } from './handler.ts';
import { holdHandlers } from './holds.ts';
import { logHandlers } from './log.ts';
import { peopleHandlers } from './people.ts';
import { proofHandlers } from './proofs.ts';
import { requestHandlers } from './requests.ts';
import { sessionHandlers } from './sessions.ts';
import { signInHandlers } from './sign-in.ts';

export const handlers: Handlers = {
  ...about,
  ...signInHandlers,
  ...proofHandlers,
  ...requestHandlers,
  ...grantHandlers,
  ...holdHandlers,
  ...sessionHandlers,
  ...logHandlers,
  ...peopleHandlers,
  ...configurationHandlers,
};
