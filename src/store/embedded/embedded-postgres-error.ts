/** Why an embedded server was not started. */
export type EmbeddedPostgresFault =
  /** Another live process holds the data directory; `pid` names it when it is known. */
  | 'data_dir_in_use'
  /** The data directory was made by another major version of PostgreSQL. */
  | 'wrong_version'
  /** No packaged binaries for this platform, or they do not run here. */
  | 'no_binaries'
  /** Started by root, and no way was found to run the server as somebody else. */
  | 'root_refused'
  /** The TCP port asked for is taken. */
  | 'port_in_use'
  /** A folder can't be used: wrong owner, not writable, no safe place for the socket. */
  | 'folder_unusable'
  /** `initdb` failed. */
  | 'init_failed'
  /** The server ended before it was ready, or a server left by an earlier run would not end. */
  | 'start_failed';

/** A refusal or fault of the supervisor. `hint` is a sentence that says what would help; the CLI shows it. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
  readonly code: EmbeddedPostgresFault;
  readonly hint: string | undefined;
  readonly pid: number | undefined;

  constructor(
    code: EmbeddedPostgresFault,
    message: string,
    more: { readonly hint?: string; readonly pid?: number | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? {} : { cause: more.cause });
    this.code = code;
    this.hint = more.hint;
    this.pid = more.pid;
  }
}
