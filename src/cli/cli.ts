/** What every command is given: the environment, the screen, the clock, and the flags that all commands share. */
import type { Environment } from './config-folder.ts';
import type { Screen } from './screen.ts';

export type Cli = {
  readonly env: Environment;
  readonly screen: Screen;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The flags shared by all commands, as they were given. */
  readonly shared: () => { readonly server: string | undefined; readonly json: boolean };
};
