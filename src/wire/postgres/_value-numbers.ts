/** Numbers as text, as PostgreSQL writes them. */

/** The shortest text that reads back as the same number; `digits`: from how many before the point it is written with an exponent. */
export function floatText(value: number, precision: 'single' | 'double'): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  if (Object.is(value, -0)) return '-0';
  const shortest = precision === 'double' ? value.toExponential() : singleText(value);
  const [mantissa = '', exponentText = ''] = shortest.split('e');
  const exponent = Number(exponentText);
  const sign = mantissa.startsWith('-') ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  if (exponent < -4 || exponent >= (precision === 'double' ? 15 : 6)) {
    const rest = digits.length > 1 ? `.${digits.slice(1)}` : '';
    return `${sign}${digits.slice(0, 1)}${rest}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  const fraction = digits.slice(exponent + 1);
  return `${sign}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}

function singleText(value: number): string {
  for (let digits = 0; digits < 8; digits += 1) {
    const text = halfToEven(value, digits);
    if (Math.fround(Number(text)) === value) return text.replace(/\.?0*e/, 'e');
  }
  return value.toExponential(8);
}

/** `toExponential` takes the larger of two that are as near; the server takes the even one. */
function halfToEven(value: number, digits: number): string {
  const text = value.toExponential(digits);
  const [mantissa = '', exponent = ''] = value.toExponential(20).split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  if (!/^50*$/.test(fraction.slice(digits))) return text;
  const below = digits === 0 ? whole : `${whole}.${fraction.slice(0, digits)}`;
  return /[02468]$/.test(below) ? `${below}e${exponent}` : text;
}

/** Base 10,000 digits, weight of the first, sign, display scale (numeric_send). */
export function numericText(value: Buffer): string | undefined {
  if (value.length < 8) return undefined;
  const count = value.readUInt16BE(0);
  const weight = value.readInt16BE(2);
  const sign = value.readUInt16BE(4);
  const scale = value.readUInt16BE(6);
  if (sign === 0xc000) return 'NaN';
  if (sign === 0xd000) return 'Infinity';
  if (sign === 0xf000) return '-Infinity';
  if ((sign !== 0 && sign !== 0x4000) || value.length !== 8 + 2 * count || scale > 0x3fff) return undefined;
  const digitAt = (power: number) => {
    const i = weight - power;
    return i >= 0 && i < count ? value.readUInt16BE(8 + 2 * i) : 0;
  };
  const whole: string[] = [];
  for (let power = weight; power >= 0; power -= 1) whole.push(String(digitAt(power)).padStart(4, '0'));
  let fraction = '';
  for (let power = -1; fraction.length < scale; power -= 1) fraction += String(digitAt(power)).padStart(4, '0');
  fraction = fraction.slice(0, scale);
  const integer = whole.join('').replace(/^0+(?=\d)/, '') || '0';
  return `${sign === 0x4000 ? '-' : ''}${integer}${fraction === '' ? '' : `.${fraction}`}`;
}

/** In the smallest unit; two places, which is right for most currencies and for no locale's symbols. */
export function moneyText(cents: bigint): string {
  const all = String(cents < 0n ? -cents : cents).padStart(3, '0');
  return `${cents < 0n ? '-' : ''}${all.slice(0, -2)}.${all.slice(-2)}`;
}
