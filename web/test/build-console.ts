import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'vite';

/** Builds the console into a new temporary folder: a test never serves or changes somebody's own build. */
export async function buildConsole(): Promise<string> {
  const dist = await mkdtemp(join(tmpdir(), 'sallyport-console-'));
  await build({
    configFile: join(import.meta.dirname, '../vite.config.ts'),
    logLevel: 'warn',
    build: { outDir: dist, emptyOutDir: true },
  });
  return dist;
}
