/** PgBouncer in front of the target, session pooling, as the yardstick: one with TLS on both sides, one without. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { BenchClient, type Address } from './client.ts';
import type { BenchTarget } from './target.ts';

export type PgBouncer = AsyncDisposable & {
  readonly pid: number;
  readonly address: Address;
};

/** Its path, or undefined when it isn't installed. */
export function findPgBouncer(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, 'pgbouncer')).find((path) => existsSync(path));
}

export function versionOf(program: string): string {
  return /\d+\.\d+(\.\d+)?/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[0] ?? '';
}

export async function startPgBouncer(program: string, target: BenchTarget, tls: boolean): Promise<PgBouncer> {
  const folder = mkdtempSync(join(tmpdir(), 'sally-bench-bouncer-'));
  const to = target.login(tls);
  const port = await freePort();
  const write = (name: string, text: string): string => {
    const file = join(folder, name);
    writeFileSync(file, text);
    chmodSync(file, 0o644);
    return file;
  };
  // It refuses to run as root; as somebody else it must get at its files.
  chmodSync(folder, 0o755);
  const isRoot = process.getuid?.() === 0;
  const users = write('users', `"${to.user}" "${to.password}"\n`);
  const files = tls
    ? {
        cert: write('cert.pem', readFileSync(target.certFile, 'utf8')),
        key: write('key.pem', readFileSync(target.keyFile, 'utf8')),
        ca: write('ca.pem', target.ca),
      }
    : undefined;
  const config = write(
    'pgbouncer.ini',
    `[databases]
${to.database} = host=127.0.0.1 port=${to.port} dbname=${to.database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = session
max_client_conn = 2000
default_pool_size = 200
server_round_robin = 0
log_connections = 0
log_disconnections = 0
log_stats = 0
server_tls_sslmode = ${files === undefined ? 'disable' : 'verify-full'}
client_tls_sslmode = ${files === undefined ? 'disable' : 'require'}
${files === undefined ? '' : `server_tls_ca_file = ${files.ca}\nclient_tls_cert_file = ${files.cert}\nclient_tls_key_file = ${files.key}`}
`,
  );
  const child = spawn(program, ['-q', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}),
  });
  // Whatever ends us ends it as well.
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  const address: Address = { ...to, port };
  const stop = async () => {
    process.removeListener('exit', kill);
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  for (let tries = 0; ; tries += 1) {
    try {
      (await BenchClient.open(address)).close();
      break;
    } catch (cause) {
      if (tries < 50 && child.exitCode === null) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        continue;
      }
      await stop();
      throw new Error(`start PgBouncer: ${said}`, { cause });
    }
  }
  return { pid: child.pid ?? 0, address, [Symbol.asyncDispose]: stop };
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
