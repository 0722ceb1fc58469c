/** Builds the web console when it is missing or older than its sources, told by their content. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = resolve(import.meta.dirname, '..');
const output = join(root, 'web', 'dist');
const stampFile = join(output, '.sources');
const sources = ['web/src', 'web/index.html', 'web/vite.config.ts', 'src/contract', 'src/core', 'package-lock.json'];

/** A hash over names and contents of everything the console is made of. */
export function sourcesStamp(): string {
  const hash = createHash('sha256');
  const add = (path: string) => {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0');
  };
  for (const source of sources) {
    const path = join(root, source);
    if (!existsSync(path)) continue;
    if (/\.\w+$/.test(source)) add(source);
    else
      for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((candidate) => candidate.isFile() && !candidate.name.includes('.test.'))
        .map((candidate) => join(candidate.parentPath, candidate.name).slice(root.length + 1))
        .sort())
        add(entry);
  }
  return hash.digest('hex');
}

/** Answers whether it had to build. */
export async function ensureConsole(onBuild: () => void = () => undefined): Promise<boolean> {
  const stamp = sourcesStamp();
  if (existsSync(join(output, 'index.html')) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp)
    return false;
  onBuild();
  const { build } = await import('vite');
  await build({ configFile: join(root, 'web', 'vite.config.ts'), logLevel: 'warn' });
  writeFileSync(stampFile, stamp);
  return true;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const built = await ensureConsole();
  console.log(built ? 'the console was built' : 'the console is up to date');
}
