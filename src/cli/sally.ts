/**
 * The entry point of `sally`, the command line of Sallyport. It does one thing before anything is loaded: it lets Node keep
 * what it has compiled, which halves the time to the first answer. `run.ts` goes on.
 */
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

// In a folder of the user's own: in the shared temporary folder, the default, others could put code there for us to run.
const base = process.env['XDG_CACHE_HOME'];
enableCompileCache(
  join(base?.startsWith('/') === true ? base : join(process.env['HOME'] ?? homedir(), '.cache'), 'sallyport', 'node'),
);
await import('./run.ts');
