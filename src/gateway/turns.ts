/** Not more than so many at a time under one key; the others wait for their turn, in order. */
export type Turns = <T>(key: string, run: () => Promise<T>) => Promise<T>;

export function createTurns(most: number): Turns {
  const lines = new Map<string, { running: number; readonly waiting: (() => void)[] }>();
  return async (key, run) => {
    const line = lines.get(key) ?? { running: 0, waiting: [] };
    lines.set(key, line);
    // Whoever ends hands its place on, so that nobody comes in between.
    if (line.running < most) line.running += 1;
    else await new Promise<void>((resolve) => line.waiting.push(resolve));
    try {
      return await run();
    } finally {
      const next = line.waiting.shift();
      if (next !== undefined) next();
      else if ((line.running -= 1) === 0) lines.delete(key);
    }
  };
}
