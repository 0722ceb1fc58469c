/** The operator's log: JSON lines without secrets, on standard error; on a terminal they go to a file instead. */
import { pino, type Logger } from 'pino';
import type { LogLevel } from '#policy/configuration.ts';

/** What a field may be called for its value to be left out, wherever somebody put it. */
const secretNames = ['password', 'secret', 'token', 'cookie', 'authorization', 'verifier', 'privateKey', 'assertion'];

export function createLogger(from: { readonly level: LogLevel; readonly file: string | undefined }): Logger {
  const paths = secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
  const destination = pino.destination(
    // Synchronous: no line is per statement, none may be lost at the end, and nothing has to be flushed.
    from.file === undefined ? { dest: 2, sync: true } : { dest: from.file, sync: true, mkdir: true, mode: 0o600 },
  );
  return pino(
    {
      level: from.level,
      base: { name: 'sallyport' },
      serializers: { err: errorInShort },
      redact: { paths, censor: '[secret]' },
    },
    destination,
  );
}

/** Drivers hang whole connections, with what authenticates them, on their errors: only these parts are ever written. */
function errorInShort(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? error.code : undefined;
  return {
    name: error.name,
    message: error.message,
    ...(typeof code === 'string' ? { code } : {}),
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: errorInShort(error.cause) }),
  };
}
