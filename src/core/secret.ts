/**
 * A value that must not reach a log line, an error or JSON. It prints as a placeholder wherever it is turned into text;
 * `reveal()` at the one place that needs it is easy to find in review.
 */
const inspect = Symbol.for('nodejs.util.inspect.custom');

export class Secret<T> {
  readonly #value: T;
  constructor(value: T) {
    this.#value = value;
  }
  reveal(): T {
    return this.#value;
  }
  toString(): string {
    return '[secret]';
  }
  toJSON(): string {
    return '[secret]';
  }
  [inspect](): string {
    return '[secret]';
  }
}
