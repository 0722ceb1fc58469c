/** `npm start`: builds the console when it must, then runs `sally up` with whatever options were given. */
import { ensureConsole } from './build-console.ts';

await ensureConsole(() => console.log('building the web console …'));
process.argv.splice(2, 0, 'up');
await import('../src/cli/sally.ts');
