/**
 * Cuts a Cedar file into its policies and measures each before the evaluator sees it. The evaluator is WebAssembly without
 * a growing stack: 150 nested brackets or 400 chained operators overflow it, and from then on that instance fails every
 * question. So depth and size are bounded here, by a scan of the tokens that needs no stack itself.
 */

export type ScannedPolicy = { readonly text: string; readonly start: number };
export type ScanFault = { readonly at: number; readonly message: string; readonly help?: string };
export type ScanOutcome = { readonly policies: readonly ScannedPolicy[]; readonly faults: readonly ScanFault[] };

/** UTF-16 code units in a file. */
export const maxFileLength = 256 * 1024;
/** UTF-16 code units in one policy. */
export const maxPolicyLength = 64 * 1024;
export const maxPoliciesInFile = 1000;
export const maxNesting = 100;
/** A bracket costs about as much of the evaluator's stack as three operators. */
const bracketCost = 3;
export const maxDepth = 300;

const token =
  /(?<skip>\s+|\/\/[^\n]*)|(?<string>"(?:[^"\\]|\\[\s\S])*"?)|(?<word>[A-Za-z_][A-Za-z0-9_]*)|(?<operator>&&|\|\||::|[-.+*!])|(?<other>[\s\S])/gy;

export function scanPolicies(text: string): ScanOutcome {
  if (text.length > maxFileLength)
    return { policies: [], faults: [{ at: 0, message: `the file is longer than ${maxFileLength} characters` }] };
  const policies: ScannedPolicy[] = [];
  const faults: ScanFault[] = [];
  let start: number | undefined;
  // How many operators are chained at each open bracket, outermost first. A comma starts a new chain.
  let chains = [0];
  let chained = 0;
  let tooDeep = false;
  const close = (end: number) => {
    if (start === undefined) return;
    if (end - start > maxPolicyLength)
      faults.push({ at: start, message: `the policy is longer than ${maxPolicyLength} characters` });
    else if (!tooDeep) policies.push({ text: text.slice(start, end), start });
    start = undefined;
    chains = [0];
    chained = 0;
    tooDeep = false;
  };
  for (const match of text.matchAll(token)) {
    const { groups, index } = match;
    if (groups?.['skip'] !== undefined) continue;
    start ??= index;
    const symbol = groups?.['other'];
    const word = groups?.['word'];
    if (symbol === '(' || symbol === '[' || symbol === '{') chains.push(0);
    else if (symbol === ')' || symbol === ']' || symbol === '}') {
      if (chains.length > 1) chained -= chains.pop() ?? 0;
    } else if (symbol === ',') {
      chained -= chains.at(-1) ?? 0;
      chains[chains.length - 1] = 0;
    } else if (
      groups?.['operator'] !== undefined ||
      word === 'if' ||
      // Several conditions of one policy become one chain of `&&`.
      word === 'when' ||
      word === 'unless'
    ) {
      chains[chains.length - 1] = (chains.at(-1) ?? 0) + 1;
      chained += 1;
    } else if (symbol === ';' && chains.length === 1) {
      close(index + 1);
      if (policies.length > maxPoliciesInFile) {
        faults.push({ at: index, message: `the file has more than ${maxPoliciesInFile} policies` });
        return { policies: [], faults };
      }
      continue;
    }
    if (!tooDeep && (chains.length - 1 > maxNesting || chained + (chains.length - 1) * bracketCost > maxDepth)) {
      tooDeep = true;
      faults.push({
        at: index,
        message: `the policy is nested or chained too deeply (at most ${maxNesting} brackets, ${maxDepth} operators)`,
        help: 'write several policies, or a set and `contains` in place of a chain of comparisons',
      });
    }
  }
  // What is left without its semicolon; the parser says what it misses.
  close(text.trimEnd().length);
  return { policies, faults };
}
