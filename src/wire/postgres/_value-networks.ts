/** Addresses as text, as PostgreSQL writes them. */

/** Family, bits, is it a network, length, address (network_send). */
export function networkText(value: Buffer): string | undefined {
  const [family, bits, isNetwork, length] = value;
  if (value.length !== 4 + (length ?? 0) || bits === undefined) return undefined;
  const address = value.subarray(4);
  // AF_INET of the systems PostgreSQL was first on, and one more.
  if (!(family === 2 && length === 4) && !(family === 3 && length === 16)) return undefined;
  if (bits > address.length * 8) return undefined;
  const text = family === 2 ? address.join('.') : sixText(address);
  return bits === address.length * 8 && isNetwork !== 1 ? text : `${text}/${bits}`;
}

/** The longest run of zeros is left out; an IPv4 address within is written as one. */
function sixText(address: Buffer): string {
  const words = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(i * 2));
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i += 1) {
    let length = 0;
    while (i + length < 8 && words[i + length] === 0) length += 1;
    if (length > best.length) best = { at: i, length };
  }
  const holdsFour = best.at === 0 && (best.length === 6 || (best.length === 5 && words[5] === 0xffff));
  const shown = holdsFour ? words.slice(0, 6) : words;
  const hex = (part: readonly number[]) => part.map((word) => word.toString(16)).join(':');
  const four = holdsFour ? address.subarray(12).join('.') : '';
  if (best.at < 0) return hex(words);
  const [before, after] = [hex(shown.slice(0, best.at)), hex(shown.slice(best.at + best.length))];
  return `${before}::${after}${after !== '' && four !== '' ? ':' : ''}${four}`;
}

export function hardwareText(value: Buffer): string {
  return value.toString('hex').replace(/..(?=.)/g, '$&:');
}
