/**
 * The normal form of a statement without its literals, for caches: texts with the same form need the same, so the verdict
 * on one of them holds for all (literal-free.test.ts proves it against the analyser). What is executed and recorded is
 * always the text itself.
 *
 * There is a form only where a literal can't change what is touched: one `select`, `insert … values`, `update` or `delete`
 * without a subquery, and in it only literals that are compared, assigned or inserted, and stand where the lexer is sure
 * of what they are. Everything else stays in the form as it is written; and a text with anything in it that this small
 * lexer doesn't know for certain (calls of any but a few functions, casts with arguments, dollars, comments, backslashes,
 * prefixed and continued strings, …) has no form at all. When in doubt, undefined: it costs a look at the whole text.
 */

/** Stand for an integer, a number with a point, a string. Texts with control characters have no form. */
const integer = '\u0001';
const decimal = '\u0002';
const string = '\u0003';

/** Longer texts are rarely sent twice. */
const longest = 16_384;
const deepest = 20;

const classes: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete']);
/** Not what is looked for here, wherever they stand. */
const strangers: ReadonlySet<string> = new Set([
  'select',
  'with',
  'current',
  'execute',
  'deallocate',
  'prepare',
  'declare',
]);
/** From here on literals are operands, until one of the next. */
const operandsFollow: ReadonlySet<string> = new Set(['where', 'values', 'set']);
const operandsEnd: ReadonlySet<string> = new Set(['from', 'using', 'on', 'join']);
/** Behind these numbers mean something else (`order by 1`, `limit 1`): nothing more is taken out. */
const tail: ReadonlySet<string> = new Set(
  'group order limit offset fetch for window having returning union intersect except'.split(' '),
);
const beforeOperand: ReadonlySet<string> = new Set(['and', 'or', 'like', 'ilike', 'between', 'where']);
const behindOperand: ReadonlySet<string> = new Set([...tail, 'and', 'or', 'from', 'where', 'on', 'is']);
/** Words with parentheses that are no calls. */
const brackets: ReadonlySet<string> = new Set(['in', 'values', 'and', 'or', 'not', 'where', 'any', 'all', 'set', 'on']);
/** Calls whose need is the same whatever stands elsewhere in the statement; theirs stay as they are written. */
const harmless: ReadonlySet<string> = new Set(
  'count sum min max avg coalesce lower upper length now abs round greatest least nullif'.split(' '),
);

type Kind = 'start' | 'word' | 'literal' | 'quoted' | 'operator' | 'comma' | 'open' | 'close' | 'dot' | 'end';

const isDigit = (c: number): boolean => c >= 48 && c <= 57;
const isLetter = (c: number): boolean => (c >= 97 && c <= 122) || (c >= 65 && c <= 90) || c === 95;
const isSpace = (c: number): boolean => c === 32 || c === 10 || c === 9 || c === 13;
/** `* + - / < > = ~ ! @ # % ^ & | ?` and the backtick. */
const isOperator = (c: number): boolean =>
  c === 42 ||
  c === 43 ||
  c === 45 ||
  c === 47 ||
  (c >= 60 && c <= 64) ||
  c === 126 ||
  c === 33 ||
  c === 35 ||
  c === 37 ||
  c === 94 ||
  c === 38 ||
  c === 124 ||
  c === 96;

/** Undefined: there is no form, and the text must be looked at as it is. */
export function literalFree(text: string): string | undefined {
  const { length } = text;
  if (length > longest) return undefined;
  let form = '';
  let copied = 0;
  let at = 0;
  let before: Kind = 'start';
  let word = '';
  /** What stands before the last word. */
  let beforeWord: Kind = 'start';
  let kind = '';
  let hasValues = false;
  /** Literals are operands here. */
  let takes = false;
  let isTail = false;
  const around: boolean[] = [];

  while (at < length) {
    const c = text.charCodeAt(at);
    if (isSpace(c)) {
      at += 1;
      continue;
    }
    if (before === 'end') return undefined;
    if (isLetter(c)) {
      const start = at;
      do at += 1;
      while (at < length && (isLetter(text.charCodeAt(at)) || isDigit(text.charCodeAt(at))));
      const isPart = before === 'dot';
      beforeWord = before;
      // Two values side by side, or a string with a type behind it.
      if (before === 'literal' && !behindOperand.has(text.slice(start, at).toLowerCase()) && takes) return undefined;
      before = 'word';
      word = isPart ? '' : text.slice(start, at).toLowerCase();
      if (kind === '') {
        if (!classes.has(word)) return undefined;
        kind = word;
        continue;
      }
      if (word === '') continue;
      if (strangers.has(word) || (word === 'into' && kind !== 'insert')) return undefined;
      if (word === 'values') {
        if (hasValues || kind !== 'insert') return undefined;
        hasValues = true;
      }
      if (tail.has(word)) {
        // Within parentheses it would be an aggregate's.
        if (around.length > 0) return undefined;
        isTail = true;
        takes = false;
      } else if (around.length === 0 && !isTail) {
        if (operandsEnd.has(word)) {
          takes = false;
          // `on conflict …` of an insert.
          if (kind === 'insert') isTail = true;
        } else if (operandsFollow.has(word) && (word !== 'set' || kind === 'update')) takes = true;
      }
      continue;
    }
    if (before === 'dot' && c !== 34 && c !== 42) return undefined;
    if (isDigit(c) || c === 39) {
      if (before === 'literal' || before === 'word' ? isGlued(text, at) : before === 'close' || before === 'quoted')
        return undefined;
      const end = c === 39 ? quotedEnd(text, at, 39) : numberEnd(text, at);
      if (end === undefined) return undefined;
      const isOperand =
        takes &&
        (before === 'operator' ||
          before === 'comma' ||
          before === 'open' ||
          (before === 'word' && beforeOperand.has(word)));
      if (isOperand && endsOperand(text, end)) {
        const stands = c === 39 ? string : text.slice(at, end).includes('.') ? decimal : integer;
        form += text.slice(copied, at) + stands;
        copied = end;
      }
      at = end;
      before = 'literal';
      continue;
    }
    if (c === 34) {
      if (isGlued(text, at) || before === 'literal' || before === 'quoted' || before === 'close') return undefined;
      const end = quotedEnd(text, at, 34);
      if (end === undefined) return undefined;
      at = end;
      before = 'quoted';
      continue;
    }
    if (isOperator(c)) {
      const next = text.charCodeAt(at + 1);
      if ((c === 45 && next === 45) || (c === 47 && next === 42)) return undefined;
      at += 1;
      before = 'operator';
      continue;
    }
    at += 1;
    switch (c) {
      case 44:
        before = 'comma';
        continue;
      case 46:
        // `(value).name` calls the function of that name.
        if (before !== 'word' && before !== 'quoted') return undefined;
        before = 'dot';
        continue;
      case 40: {
        if (around.length >= deepest) return undefined;
        around.push(takes);
        if (before === 'word' && word !== '' && brackets.has(word) && beforeWord !== 'dot') {
          // As it was: `in (…)`, `values (…)`.
        } else if (before === 'word' && harmless.has(word) && beforeWord !== 'dot') takes = false;
        else if (before === 'word' || before === 'quoted') {
          const isColumns = kind === 'insert' && !hasValues && around.length === 1;
          if (!isColumns && !(before === 'word' && word === 'using')) return undefined;
          takes = false;
        } else if (before !== 'operator' && before !== 'comma' && before !== 'open') return undefined;
        before = 'open';
        continue;
      }
      case 41: {
        const outside = around.pop();
        if (outside === undefined) return undefined;
        takes = outside;
        before = 'close';
        continue;
      }
      case 59:
        if (around.length > 0) return undefined;
        before = 'end';
        continue;
      default:
        return undefined;
    }
  }
  if (around.length > 0 || kind === '' || copied === 0) return undefined;
  return form + text.slice(copied);
}

/** A quote or a digit right behind a word, an ampersand (`U&'…'`) or another literal: it may be more than it looks. */
function isGlued(text: string, at: number): boolean {
  const c = text.charCodeAt(at - 1);
  return isLetter(c) || isDigit(c) || c === 38 || c === 39 || c === 34;
}

/** Behind a string or a quoted name. Undefined when it doesn't end, or holds what could be read in two ways. */
function quotedEnd(text: string, start: number, quote: 34 | 39): number | undefined {
  if (text.charCodeAt(start - 1) === 38) return undefined;
  for (let at = start + 1; at < text.length; at += 1) {
    const c = text.charCodeAt(at);
    if (c === quote) {
      if (text.charCodeAt(at + 1) !== quote) return at + 1;
      at += 1;
    } else if (c === 92 || (c < 32 && !isSpace(c))) return undefined;
  }
  return undefined;
}

/** Digits, perhaps a point and more digits; nothing longer than a machine's number, and nothing glued to it. */
function numberEnd(text: string, start: number): number | undefined {
  let at = start;
  while (isDigit(text.charCodeAt(at))) at += 1;
  if (text.charCodeAt(at) === 46) {
    const point = at;
    at += 1;
    while (isDigit(text.charCodeAt(at))) at += 1;
    if (at === point + 1) return undefined;
  }
  const c = text.charCodeAt(at);
  const isWhole = Number.isNaN(c) || isSpace(c) || c === 44 || c === 41 || c === 59 || (isOperator(c) && c !== 64);
  return isWhole && at - start <= 18 ? at : undefined;
}

/** What follows leaves the literal what it is: no cast, no second string, no field, no unit. */
function endsOperand(text: string, end: number): boolean {
  let at = end;
  while (at < text.length && isSpace(text.charCodeAt(at))) at += 1;
  if (at >= text.length) return true;
  const c = text.charCodeAt(at);
  if (c === 44 || c === 41 || c === 59 || isOperator(c)) return true;
  if (!isLetter(c) || at === end) return false;
  let stop = at;
  while (stop < text.length && isLetter(text.charCodeAt(stop))) stop += 1;
  return behindOperand.has(text.slice(at, stop).toLowerCase());
}
