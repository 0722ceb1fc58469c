/**
 * Reading `sallyport.yaml` and the files it names: what `validate`, `apply` and `policy test` share. The policy engine is
 * loaded only by the commands that need it: it takes longer than all the rest of the CLI.
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { PolicyFault, PolicyFile } from '#policy/engine.ts';
import { codeOf } from './config-folder.ts';
import { CliError } from './exit.ts';
import { line, type Sink } from './screen.ts';

export const defaultConfigurationFile = 'sallyport.yaml';

export type ConfigurationFiles = {
  /** As it was named. */
  readonly file: string;
  readonly text: string;
  /** Named relative to the configuration file. */
  readonly policies: readonly PolicyFile[];
};

/** The configuration file and the policies that it names, sorted by name. */
export async function readConfigurationFiles(what: string, file: string): Promise<ConfigurationFiles> {
  const { policyPatternsOf } = await import('#policy/configuration.ts');
  const text = readOrRefuse(what, file);
  const folder = dirname(file);
  const names = new Set(policyPatternsOf(text).flatMap((pattern) => globSync(pattern, { cwd: folder })));
  return {
    file,
    text,
    policies: [...names].toSorted().map((name) => ({ name, text: readOrRefuse(what, join(folder, name)) })),
  };
}

/** `*.cases.yaml` beside the policies. */
export async function readCases(what: string, files: ConfigurationFiles): Promise<readonly PolicyFile[]> {
  const { policyPatternsOf } = await import('#policy/configuration.ts');
  const folder = dirname(files.file);
  const folders = new Set(policyPatternsOf(files.text).map((pattern) => dirname(pattern)));
  return [...folders]
    .flatMap((below) => globSync(join(below, '*.cases.yaml'), { cwd: folder }))
    .toSorted()
    .map((name) => ({ name: join(folder, name), text: readOrRefuse(what, join(folder, name)) }));
}

function readOrRefuse(what: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const code = codeOf(cause);
    throw new CliError(
      code === 'ENOENT' ? 'not_found' : 'usage',
      `${what} \`${file}\`: ${code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'that is a folder' : (code ?? String(cause))}`,
      { hint: 'name the configuration with -f FILE', cause },
    );
  }
}

/** Faults as compilers print them, so that an editor finds the place. */
export function printFaults(
  sink: Sink,
  files: Pick<ConfigurationFiles, 'file' | 'policies'>,
  faults: readonly (Omit<PolicyFault, 'help'> & { readonly help?: string | undefined })[],
  kind: 'fault' | 'warning' = 'fault',
): void {
  const own = new Set(files.policies.map(({ name }) => name));
  for (const fault of faults) {
    const file = own.has(fault.file) ? join(dirname(files.file), fault.file) : fault.file;
    const place = { text: `${file}:${fault.line}:${fault.column}:`, colour: 'bold' as const };
    if (kind === 'warning') line(sink, place, { text: ' warning:', colour: 'yellow' }, ` ${fault.message}`);
    else line(sink, place, ` ${fault.message}`);
    if (fault.help !== undefined) line(sink, { text: '  help: ', colour: 'cyan' }, fault.help);
  }
}

export function countOf(count: number, one: string, many = `${one}s`): string {
  return count === 1 ? `one ${one}` : `${count} ${many}`;
}
