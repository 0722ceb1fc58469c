/** Why Sallyport can't start, in a sentence that helps. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly code: string;
  readonly hint: string | undefined;
  constructor(code: string, message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}
