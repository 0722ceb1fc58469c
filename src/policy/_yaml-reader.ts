/**
 * Reads a YAML text strictly and reports every fault with its place. A small part of YAML is enough for a configuration:
 * one document of mappings, lists and scalars; no anchors, no tags, no key twice, nothing implicit.
 */
import { isAlias, isMap, isNode, isScalar, isSeq, parseDocument, visit, type Node } from 'yaml';
import type { PolicyFault } from './engine.ts';
import { positionOf } from './_position.ts';
import { suggest } from './_suggest.ts';

export type YamlEntry = { readonly key: string; readonly keyNode: Node; readonly value: Node | undefined };

export type YamlReader = {
  readonly root: Node | undefined;
  readonly faults: PolicyFault[];
  readonly lineOf: (node: Node) => number;
  readonly fault: (at: Node | undefined, message: string, help?: string) => undefined;
  /** The entries of a mapping; `what` names it in faults. */
  readonly entries: (node: Node | undefined, what: string) => readonly YamlEntry[] | undefined;
  /** The mapping's values by key, after refusing keys that aren't `known` and missing `required` ones. */
  readonly record: <K extends string>(
    node: Node | undefined,
    what: string,
    known: readonly K[],
    required?: readonly K[],
  ) => Partial<Record<K, Node>> | undefined;
  readonly list: (node: Node | undefined, what: string) => readonly Node[] | undefined;
  readonly text: (node: Node | undefined, what: string, maxLength?: number) => string | undefined;
  readonly wholeNumber: (node: Node | undefined, what: string, from: number, to: number) => number | undefined;
  readonly truth: (node: Node | undefined, what: string) => boolean | undefined;
};

export function readYaml(file: string, text: string, maxLength: number): YamlReader {
  const faults: PolicyFault[] = [];
  const at = (index: number, message: string, help?: string): undefined => {
    faults.push({ file, ...positionOf(text, index), message, ...(help === undefined ? {} : { help }) });
  };
  const fault: YamlReader['fault'] = (node, message, help) => at(node?.range?.[0] ?? 0, message, help);

  const root = parse();

  function parse(): Node | undefined {
    if (text.length > maxLength) return at(0, `the file is longer than ${maxLength} characters`);
    let document: ReturnType<typeof parseDocument>;
    try {
      document = parseDocument(text, { prettyErrors: false, uniqueKeys: true });
    } catch {
      // The parser is recursive: brackets nested by the thousand end here.
      return at(0, 'the file is nested too deeply');
    }
    for (const error of [...document.errors, ...document.warnings])
      at(error.pos[0], lowerFirst(error.message.replaceAll('\n', ' ')));
    if (faults.length > 0) return undefined;
    try {
      visit(document, {
        Node: (_, node) => {
          if (isAlias(node)) fault(node, 'aliases (`*name`) are not read here', 'write the value out');
          else if (node.anchor !== undefined) fault(node, 'anchors (`&name`) are not read here');
          else if (node.tag !== undefined && node.tag.startsWith('!')) fault(node, 'tags (`!name`) are not read here');
        },
      });
    } catch {
      return at(0, 'the file is nested too deeply');
    }
    if (faults.length > 0) return undefined;
    return isNode(document.contents) ? document.contents : at(0, 'the file is empty');
  }

  const entries: YamlReader['entries'] = (node, what) => {
    if (node === undefined) return undefined;
    if (!isMap(node)) return fault(node, `${what} must be a mapping of keys to values`);
    const found: YamlEntry[] = [];
    for (const { key, value } of node.items) {
      if (!isScalar(key) || typeof key.value !== 'string')
        fault(isNode(key) ? key : node, `a key of ${what} must be text`);
      else found.push({ key: key.value, keyNode: key, value: isNode(value) ? value : undefined });
    }
    return found;
  };

  return {
    root,
    faults,
    lineOf: (node) => positionOf(text, node.range?.[0] ?? 0).line,
    fault,
    entries,
    record: (node, what, known, required = []) => {
      const all = entries(node, what);
      if (all === undefined) return undefined;
      const found: Partial<Record<(typeof known)[number], Node>> = {};
      for (const { key, keyNode, value } of all) {
        const name = known.find((candidate) => candidate === key);
        if (name === undefined) {
          const near = suggest(key, known);
          fault(
            keyNode,
            `${what} has no key \`${key}\``,
            near === undefined
              ? `its keys are ${known.map((k) => `\`${k}\``).join(', ')}`
              : `did you mean \`${near}\`?`,
          );
        } else if (value === undefined || (isScalar(value) && value.value === null))
          fault(keyNode, `\`${key}\` of ${what} has no value`);
        else found[name] = value;
      }
      for (const key of required) if (!all.some((entry) => entry.key === key)) fault(node, `${what} needs \`${key}\``);
      return found;
    },
    list: (node, what) => {
      if (node === undefined) return undefined;
      if (!isSeq(node))
        return fault(node, `${what} must be a list`, 'write `[one, two]`, or a line with `- ` for each');
      return node.items.filter(isNode);
    },
    text: (node, what, maxTextLength = 500) => {
      if (node === undefined) return undefined;
      if (!isScalar(node)) return fault(node, `${what} must be text`);
      if (typeof node.value !== 'string')
        return node.value === null
          ? fault(node, `${what} has no value`)
          : fault(node, `${what} must be text`, 'put it in quotes');
      if (node.value.length === 0) return fault(node, `${what} is empty`);
      if (node.value.length > maxTextLength) return fault(node, `${what} is longer than ${maxTextLength} characters`);
      // Control characters would reach terminals and logs.
      // oxlint-disable-next-line no-control-regex
      if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(node.value))
        return fault(node, `${what} has a control character in it`);
      return node.value;
    },
    wholeNumber: (node, what, from, to) => {
      if (node === undefined) return undefined;
      const value = isScalar(node) ? node.value : undefined;
      if (typeof value !== 'number' || !Number.isInteger(value) || value < from || value > to)
        return fault(node, `${what} must be a whole number from ${from} to ${to}`);
      return value;
    },
    truth: (node, what) => {
      if (node === undefined) return undefined;
      const value = isScalar(node) ? node.value : undefined;
      return typeof value === 'boolean' ? value : fault(node, `${what} must be \`true\` or \`false\``);
    },
  };
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** The fields that are there: a key whose value is undefined is left out. */
export function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
