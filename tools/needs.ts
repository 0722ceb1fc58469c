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
  /** A command that succeeds when it is really there: a module, a library. */
  readonly probe?: readonly string[];
  /** Debian's packages that bring it. */
  readonly debian: readonly string[];
};

/** Other people's drivers and tools. The tests of one that isn't there are left out by name, except where CI is Debian. */
export type DriverNeed = Need & { readonly driver: string };

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

/** Debian's own Python, Ruby and so on: another one in the PATH doesn't see the packages of the system. */
const debians = (name: string): string => (existsSync(`/usr/bin/${name}`) ? `/usr/bin/${name}` : name);
export const python = debians('python3');
export const perl = debians('perl');
export const ruby = debians('ruby');
export const php = debians('php');
export const jdbcJar = '/usr/share/java/postgresql.jar';

const pythonModule = (driver: string, modules: string, ...debian: readonly string[]): DriverNeed => ({
  driver,
  programs: [python],
  probe: [python, '-c', `import ${modules}`],
  why: 'drivers work unchanged',
  debian: ['python3', ...debian],
});

export const driverNeeds: readonly DriverNeed[] = [
  pythonModule('psycopg 3', 'psycopg, psycopg_pool', 'python3-psycopg', 'python3-psycopg-pool'),
  pythonModule('psycopg 2', 'psycopg2', 'python3-psycopg2'),
  pythonModule('ODBC', 'pyodbc', 'python3-pyodbc', 'odbc-postgresql'),
  { driver: 'pgcli', programs: ['pgcli'], why: 'tools work unchanged', debian: ['pgcli'] },
  {
    driver: 'pgbench',
    programs: ['pgbench'],
    // Debian's client package brings a wrapper of that name, and the program comes with the server.
    probe: ['pgbench', '--version'],
    why: 'tools work unchanged',
    debian: ['postgresql'],
  },
  {
    driver: 'pgjdbc',
    programs: ['java'],
    probe: ['sh', '-c', `test -e ${jdbcJar} && java --list-modules | grep -q jdk.compiler`],
    why: 'drivers work unchanged',
    debian: ['default-jdk-headless', 'libpostgresql-jdbc-java'],
  },
  {
    driver: 'DBD::Pg',
    programs: [perl],
    probe: [perl, '-MDBD::Pg', '-e', '1'],
    why: 'drivers work unchanged',
    debian: ['libdbd-pg-perl'],
  },
  {
    driver: 'ruby-pg',
    programs: [ruby],
    probe: [ruby, '-e', 'require "pg"'],
    why: 'drivers work unchanged',
    debian: ['ruby', 'ruby-pg'],
  },
  {
    driver: 'PHP pdo_pgsql',
    programs: [php],
    probe: [php, '-r', 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);'],
    why: 'drivers work unchanged',
    debian: ['php-cli', 'php-pgsql'],
  },
];

/** Whether this driver isn't on this machine. Drivers that come by npm always are. */
export function isLeftOut(driver: string): boolean {
  return (
    unmet(
      driverNeeds.filter((need) => need.driver === driver),
      process.env,
    ).length > 0
  );
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The needs that are not met, given the environment's PATH and variables. */
export function unmet<N extends Need>(all: readonly N[], environment: Environment): readonly N[] {
  const folders = (environment['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return all.filter(({ programs, variable, probe }) => {
    const named = variable === undefined ? undefined : environment[variable];
    // A variable that names nothing would be found out by the first test that needs it; better here.
    if (named !== undefined) return !isProgram(named);
    const isThere = programs.some((program) =>
      program.startsWith('/') ? isProgram(program) : folders.some((folder) => isProgram(join(folder, program))),
    );
    return !isThere || (probe !== undefined && !succeeds(probe));
  });
}

function succeeds([program = '', ...args]: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore', timeout: 30_000 }).status === 0;
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

export type Met =
  | {
      readonly met: true;
      /** Drivers that aren't here, and whose tests are left out. */
      readonly leftOut: readonly string[];
    }
  | { readonly met: false; readonly because: string };

/** Meets all needs, those of the drivers too if asked, or answers with what a person has to do. */
export function meetNeeds(say: (line: string) => void, ask: { readonly drivers: boolean } = { drivers: false }): Met {
  const all: readonly Need[] = ask.drivers ? [...needs, ...driverNeeds] : needs;
  let missing = unmet(all, process.env);
  const isDebian = existsSync('/etc/debian_version');
  const mayInstall = process.getuid?.() === 0 && isDebian;
  let failure = '';
  if (missing.length > 0 && mayInstall && missing.every(({ variable }) => !isNamed(variable))) {
    const packages = packagesFor(missing);
    say(`installing by apt-get: ${packages.join(', ')}`);
    // In the first run level Debian starts no services: what a package brings along must not begin to listen.
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    for (const args of [
      ['update', '-qq'],
      ['install', '-qq', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...packages],
    ]) {
      const { status, stdout, stderr } = spawnSync('apt-get', args, { env, encoding: 'utf8', maxBuffer: 64 << 20 });
      if (status !== 0) failure = `\`apt-get ${args.join(' ')}\` failed:\n${stdout}${stderr}`;
    }
    missing = unmet(all, process.env);
  }
  const leftOut = missing.flatMap((need) => ('driver' in need ? [String(need.driver)] : []));
  // Where everything can be had, nothing is left out without anybody's noticing.
  const mayLeaveOut = !(isDebian && process.env['CI'] === 'true');
  if (missing.length === 0 || (missing.length === leftOut.length && mayLeaveOut)) return { met: true, leftOut };
  return { met: false, because: [failure, describeUnmet(missing)].filter((text) => text !== '').join('\n') };
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
