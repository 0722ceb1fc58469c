/** A name for the passkey about to be made, e.g. `Chrome on Linux`: good enough to recognise it by, and editable. */
export function thisDevice(userAgent: string): string {
  const find = (pairs: readonly (readonly [RegExp, string])[], otherwise: string) =>
    pairs.find(([pattern]) => pattern.test(userAgent))?.[1] ?? otherwise;
  const browser = find(
    [
      [/Edg\//, 'Edge'],
      [/OPR\//, 'Opera'],
      [/Firefox\/|FxiOS/, 'Firefox'],
      [/Chrom(?:e|ium)\/|CriOS/, 'Chrome'],
      [/Safari\//, 'Safari'],
    ],
    'Browser',
  );
  const system = find(
    [
      [/iPhone/, 'iPhone'],
      [/iPad/, 'iPad'],
      [/Android/, 'Android'],
      [/Mac OS X|Macintosh/, 'Mac'],
      [/Windows/, 'Windows'],
      [/CrOS/, 'ChromeOS'],
      [/Linux/, 'Linux'],
    ],
    'this device',
  );
  return `${browser} on ${system}`;
}
