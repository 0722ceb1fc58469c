/** Where calls that need a fresher sign-in wait for the one dialog that offers it. */
export type SignInAgain = {
  /** Resolves to true when the person has signed in again, false when they would rather not. */
  readonly ask: () => Promise<boolean>;
  readonly answer: (signedIn: boolean) => void;
  readonly subscribe: (listener: () => void) => () => void;
  readonly isAsking: () => boolean;
};

export function createSignInAgain(): SignInAgain {
  let waiting: ((signedIn: boolean) => void)[] = [];
  const listeners = new Set<() => void>();
  const tell = () => listeners.forEach((listener) => listener());
  return {
    ask: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        tell();
      }),
    answer: (signedIn) => {
      const all = waiting;
      waiting = [];
      all.forEach((resolve) => resolve(signedIn));
      tell();
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    isAsking: () => waiting.length > 0,
  };
}
