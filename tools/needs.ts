/**
 * What the tests need that npm doesn't bring, and how to get it: as root on Debian it is installed, elsewhere the tests
 * stop and say what is missing. Nothing is installed that is there already.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

export type Need = {
  /** Names that the program goes by, or absolute paths of it. One of them is enough. */
  readonly programs: readonly string[];
  /** Names the program's path, whatever it is called. */
  readonly variable?: string;
  readonly why: string;
  /** Debian's packages that bring it. */
  readonly debian: readonly string[];
};

export const needs: readonly Need[] = [
  {
    programs: ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'],
    variable: 'SALLY_TEST_CHROMIUM',
    why: 'the console is tested in a real browser',
    // A browser without any font draws boxes.
    debian: ['chromium', 'fonts-liberation'],
  },
  { programs: ['psql'], why: 'people work with it, so tests do', debian: ['postgresql-client'] },
  { programs: ['pg_dump'], why: 'people work with it, so tests do', debian: ['postgresql-client'] },
  { programs: ['openssl'], why: 'certificates are judged by somebody else’s code too', debian: ['openssl'] },
];

type Environment = Readonly<Record<string, string | undefined>>;

/** The needs that are not met, given the environment's PATH and variables. */
export function unmet(all: readonly Need[], environment: Environment): readonly Need[] {
  const folders = (environment['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return all.filter(({ programs, variable }) => {
    const named = variable === undefined ? undefined : environment[variable];
    // A variable that names nothing would be found out by the first test that needs it; better here.
    if (named !== undefined) return !isProgram(named);
    return !programs.some((program) =>
      program.startsWith('/') ? isProgram(program) : folders.some((folder) => isProgram(join(folder, program))),
    );
  });
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The packages that meet these needs, each once. */
export function packagesFor(missing: readonly Need[]): readonly string[] {
  return [...new Set(missing.flatMap(({ debian }) => debian))];
}

/** What is missing, why it is needed, and the command that brings it. */
export function describeUnmet(missing: readonly Need[]): string {
  const lines = missing.map(({ programs, variable, why }) => {
    const names = programs.map((program) => `\`${program}\``).join(' or ');
    return `  ${names}${variable === undefined ? '' : ` (or the one that ${variable} names)`}: ${why}`;
  });
  return [
    'missing on this machine:',
    ...lines,
    `on Debian or Ubuntu: apt-get install --no-install-recommends ${packagesFor(missing).join(' ')}`,
    'elsewhere: the same programs from your system’s packages (a PostgreSQL client of version 15 or newer)',
  ].join('\n');
}

/** Meets all needs, or answers with what a person has to do. */
export function meetNeeds(
  say: (line: string) => void,
): { readonly met: true } | { readonly met: false; readonly because: string } {
  let missing = unmet(needs, process.env);
  if (missing.length === 0) return { met: true };
  if (
    process.getuid?.() === 0 &&
    existsSync('/etc/debian_version') &&
    missing.every(({ variable }) => !isNamed(variable))
  ) {
    const packages = packagesFor(missing);
    say(`installing by apt-get: ${packages.join(', ')}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    for (const args of [
      ['update', '-qq'],
      ['install', '-qq', '-y', '--no-install-recommends', ...packages],
    ]) {
      const { status, stdout, stderr } = spawnSync('apt-get', args, { env, encoding: 'utf8', maxBuffer: 64 << 20 });
      if (status !== 0) return { met: false, because: `\`apt-get ${args.join(' ')}\` failed:\n${stdout}${stderr}` };
    }
    missing = unmet(needs, process.env);
    if (missing.length === 0) return { met: true };
  }
  return { met: false, because: describeUnmet(missing) };
}

function isNamed(variable: string | undefined): boolean {
  return variable !== undefined && process.env[variable] !== undefined;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const outcome = meetNeeds(console.log);
  if (!outcome.met) {
    console.error(outcome.because);
    process.exit(1);
  }
  console.log('everything that the tests need is there');
}
