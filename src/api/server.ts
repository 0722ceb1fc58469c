/**
 * HTTP: parse, call the use case, map its outcome; nothing else happens in this folder. The contract says what there is;
 * `handlers.ts` gives each endpoint its function (one missing doesn't compile), from a file for each group of endpoints;
 * `implement.ts` does for all of them what stands before a use case (who calls, from where, how often, how much);
 * `present.ts` turns what the use cases answer into the contract's JSON. This file puts it all, and the console, behind one
 * listener: connections and their limits, routing, headers, and an orderly end.
 */
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { isIP, type AddressInfo, type Socket } from 'node:net';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import type { AppContext } from '#app/context.ts';
import { endpoints, type EndpointName } from '#contract/endpoints.ts';
import { addressKey } from '#identity/rate-limit.ts';
import { addAuthzen } from './authzen/routes.ts';
import { createClientAddress } from './client-address.ts';
import { fileAnswer, readConsoleFiles, type ConsoleFiles } from './console-files.ts';
import { errorAnswer } from './errors.ts';
import { handlers } from './handlers.ts';
import { answerTo, implement, type Api, type ApiEvents } from './implement.ts';
import { addOauth } from './oauth.ts';
import { addOperations, type Operations } from './operations.ts';
import { setSecurityHeaders } from './security-headers.ts';
import { createWaiters } from './waiters.ts';

export type Certificate = { readonly cert: string; readonly key: string };

export type ApiOptions = Operations & {
  /** Or how to make it once the port is known, for a public URL that names it. */
  readonly app: AppContext | ((port: number) => AppContext | Promise<AppContext>);
  readonly version: string;
  /** Port 0 takes any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Read at the start and at each `reloadTls`. Without it: plain HTTP. */
  readonly tls?: () => Certificate;
  /** The built console (`web/dist`). */
  readonly webRoot?: string;
  /** Addresses and networks whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[];
  readonly events: ApiEvents;
  /** Default false. */
  readonly checkAnswers?: boolean;
  readonly limits?: Partial<ApiLimits>;
};

export type ApiLimits = {
  /** A connection must have sent its headers by then. */
  readonly headersMs: number;
  /** A request must have arrived whole by then. */
  readonly requestMs: number;
  /** A connection on which nothing moves is cut. Longer than the longest poll. */
  readonly idleMs: number;
  /** A use case must have answered by then. */
  readonly deadlineMs: number;
  /** How long a stop waits for what is running. */
  readonly stopMs: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** Long polls. */
  readonly waitersPerPrincipal: number;
};

const defaults: ApiLimits = {
  headersMs: 10_000,
  requestMs: 30_000,
  idleMs: 60_000,
  deadlineMs: 30_000,
  stopMs: 10_000,
  connections: 4096,
  connectionsPerAddress: 512,
  waitersPerPrincipal: 16,
};

export type RunningApi = {
  readonly port: number;
  /** What it listens on; people use the public URL. */
  readonly url: string;
  /** New connections get the certificate that `tls` gives now. Keeps the old one, and throws, when that one is no use. */
  readonly reloadTls: () => void;
  /** Takes no more, ends long polls and idle connections at once, and waits for the rest, for a while. */
  readonly stop: () => Promise<void>;
};

/** @throws what `listen` throws, such as `EADDRINUSE` */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const limits = { ...defaults, ...options.limits };
  const stopping = new AbortController();
  const files = await readConsoleFiles(options.webRoot);

  const serverOptions = {
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    connectionsCheckingInterval: Math.min(1000, limits.headersMs),
    keepAliveTimeout: 15_000,
    maxHeaderSize: 16_384,
    // Two Content-Lengths, a bare CR and the like are how requests are smuggled past a proxy.
    insecureHTTPParser: false,
  };
  const server: Server | TlsServer =
    options.tls === undefined
      ? createServer(serverOptions)
      : createTlsServer({
          ...serverOptions,
          ...options.tls(),
          minVersion: 'TLSv1.2',
          handshakeTimeout: limits.headersMs,
        });
  server.maxHeadersCount = 100;
  server.maxConnections = limits.connections;
  server.timeout = limits.idleMs;
  const connections = trackConnections(server, options.tls !== undefined);
  capConnectionsPerAddress(server, limits.connectionsPerAddress, options.trustedProxies);
  // A client that is quick enough to come before the routes are there waits for them.
  const opened = Promise.withResolvers<ReturnType<typeof getRequestListener>>();
  server.on('request', (incoming, outgoing) => {
    void opened.promise.then((listener) => listener(incoming, outgoing));
  });

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.listen.port, options.listen.host, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  server.on('error', (fault) => options.events.fault({ id: 'listener', route: 'listener', fault }));
  // Listening on a port gives an AddressInfo (never a pipe's name).
  const { port } = server.address() as AddressInfo;
  let hono: Hono<{ Bindings: HttpBindings }>;
  try {
    const api: Api = {
      app: typeof options.app === 'function' ? await options.app(port) : options.app,
      version: options.version,
      clientAddress: createClientAddress(options.trustedProxies),
      waiters: createWaiters({ perPrincipal: limits.waitersPerPrincipal, total: 10_000 }),
      exports: createWaiters({ perPrincipal: 1, total: 2 }),
      events: options.events,
      stopping: stopping.signal,
      deadlineMs: limits.deadlineMs,
      checkAnswers: options.checkAnswers ?? false,
    };
    hono = createRoutes(api, options, files);
  } catch (fault) {
    server.close();
    connections.endAll();
    throw fault;
  }
  // `Request` and `Response` stay Node's own in this process.
  const listener = getRequestListener((request, env) => hono.fetch(request, env), {
    overrideGlobalObjects: false,
    // What can't be made a request of at all never reaches a route; routes catch what is theirs.
    errorHandler: () => {
      const answer = errorAnswer({ code: 'invalid_input', message: 'this is not a request that can be answered' });
      setSecurityHeaders(answer.headers, 'data', false);
      return answer;
    },
  });
  opened.resolve(listener);
  const host = options.listen.host.includes(':') ? `[${options.listen.host}]` : options.listen.host;
  let stopped: Promise<void> | undefined;
  return {
    port,
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}:${port}`,
    reloadTls: () => {
      if (options.tls !== undefined && 'setSecureContext' in server)
        server.setSecureContext({ ...options.tls(), minVersion: 'TLSv1.2' });
    },
    stop: () => (stopped ??= stop(server, connections, stopping, limits.stopMs)),
  };
}

type Connections = {
  /** Those on which no request is being answered, from now on as soon as that is so. */
  readonly endIdle: () => void;
  readonly endAll: () => void;
};

/** Node closes a connection that has been quiet since its last request, but not one that has never asked anything. */
function trackConnections(server: Server | TlsServer, isTls: boolean): Connections {
  const plain = new Set<Socket>();
  const running = new Map<Socket, number>();
  let isEnding = false;
  server.on('connection', (socket: Socket) => {
    plain.add(socket);
    socket.once('close', () => plain.delete(socket));
  });
  server.on(isTls ? 'secureConnection' : 'connection', (socket: Socket) => {
    running.set(socket, 0);
    socket.once('close', () => running.delete(socket));
  });
  server.on('request', (incoming, outgoing) => {
    const { socket } = incoming;
    const count = (by: 1 | -1): void => {
      const now = (running.get(socket) ?? 0) + by;
      if (running.has(socket)) running.set(socket, now);
      if (isEnding && now === 0) socket.destroySoon();
    };
    count(1);
    outgoing.once('close', () => count(-1));
  });
  return {
    endIdle: () => {
      isEnding = true;
      for (const [socket, count] of running) if (count === 0) socket.destroy();
    },
    endAll: () => {
      for (const socket of plain) socket.destroy();
    },
  };
}

async function stop(
  server: Server | TlsServer,
  connections: Connections,
  stopping: AbortController,
  waitMs: number,
): Promise<void> {
  stopping.abort();
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  connections.endIdle();
  const cut = setTimeout(connections.endAll, waitMs);
  await closed;
  clearTimeout(cut);
}

/** INVARIANT 14: one address can't take all places; a silent client costs one socket. Proxies stand for many and aren't counted. */
function capConnectionsPerAddress(server: Server, most: number, trustedProxies: readonly string[]): void {
  const open = new Map<string, number>();
  // Asked the way a request is: an address that names nobody in front of it, unless it is a proxy.
  const clientAddress = createClientAddress(trustedProxies);
  const probe = '192.0.2.1';
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress;
    if (address === undefined || clientAddress(address, probe) === probe) return;
    const key = addressKey(address);
    const count = (open.get(key) ?? 0) + 1;
    if (count > most) {
      socket.destroy();
      return;
    }
    open.set(key, count);
    socket.once('close', () => {
      const left = (open.get(key) ?? 1) - 1;
      if (left === 0) open.delete(key);
      else open.set(key, left);
    });
  });
}

function createRoutes(api: Api, options: ApiOptions, files: ConsoleFiles): Hono<{ Bindings: HttpBindings }> {
  const { publicUrl } = api.app.site;
  const publicHost = new URL(publicUrl).host;
  const isHttps = publicUrl.startsWith('https://');
  const hono = new Hono<{ Bindings: HttpBindings }>();

  hono.use(async (c, next) => {
    const { incoming } = c.env;
    const path = incoming.url ?? '';
    // DNS rebinding: a page of another name that resolves to us is told nothing. Probes may use an address, which no page
    // can take for its own name.
    const host = incoming.headers.host?.toLowerCase() ?? '';
    const isOurs =
      path.startsWith('/') &&
      (withoutUsualPort(host, isHttps) === publicHost ||
        (/^\/(?:healthz|readyz|metrics)$/.test(path) && isAddress(host)));
    if (isOurs) await next();
    else
      c.res = errorAnswer({
        code: 'misdirected',
        message: 'this server does not answer under that name',
        hint: `open ${publicUrl}`,
      });
    const isPage = c.res.headers.get('content-type')?.startsWith('text/html') === true;
    setSecurityHeaders(c.res.headers, isPage ? 'page' : 'data', isHttps);
    if (api.stopping.aborted) c.res.headers.set('connection', 'close');
  });

  for (const name of Object.keys(endpoints) as EndpointName[]) {
    const endpoint = endpoints[name];
    const path = endpoint.path.replace(/\{(\w+)\}/g, ':$1');
    const handle = implement(api, name, endpoint, handlers[name]);
    if (endpoint.method === 'GET') hono.get(path, handle);
    else hono.post(path, handle);
  }
  addOauth(hono, api);
  addAuthzen(hono, api);
  addOperations(hono, api, options);

  // Routes answer for their own faults; whatever is left is told in the same way, and not on the standard error.
  hono.onError((fault, c) => answerTo(api, c, 'router', {}, () => Promise.reject(fault)));

  hono.notFound((c) =>
    answerTo(api, c, 'console', {}, () => {
      const { method, headers } = c.req.raw;
      const path = new URL(c.req.url).pathname;
      const isPage = !/^\/(?:api|oauth|access|\.well-known)\//.test(path) && (method === 'GET' || method === 'HEAD');
      const file = isPage ? files.find(path) : undefined;
      if (file !== undefined) return Promise.resolve(fileAnswer(file, headers));
      const wantsPage =
        isPage &&
        (path === '/' || ((headers.get('accept') ?? '').includes('text/html') && !path.startsWith('/assets/')));
      if (wantsPage)
        return Promise.resolve(
          files.index === undefined
            ? errorAnswer({
                code: 'not_found',
                message: 'the console is not built',
                hint: 'build it with `npm run build` and start again; the API works without it',
              })
            : fileAnswer(files.index, headers),
        );
      return Promise.resolve(errorAnswer({ code: 'not_found', message: 'there is nothing at this address' }));
    }),
  );
  return hono;
}

function withoutUsualPort(host: string, isHttps: boolean): string {
  return host.endsWith(isHttps ? ':443' : ':80') ? host.slice(0, host.lastIndexOf(':')) : host;
}

function isAddress(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return isIP(name) !== 0 || name === 'localhost';
}
