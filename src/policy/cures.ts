/**
 * The `@cure("…")` annotation of a forbid: what would lift it. A kind of cure is one file in `cures/` and one page in
 * docs/cures/; this is the list of them, and what they are asked together.
 */
import type { Cure, CureKind, Demand } from '#core/decision.ts';
import { activation } from './cures/activation.ts';
import { approval } from './cures/approval.ts';
import { freshSignIn } from './cures/fresh-sign-in.ts';
import type { KindOfCure } from './cures/kind.ts';
import { preview } from './cures/preview.ts';
import { proof } from './cures/proof.ts';
import { reason } from './cures/reason.ts';
import { CureFault, wordsOf } from './cures/words.ts';
import type { Circumstances, Cured } from './question.ts';
import { suggest } from './_suggest.ts';

const kinds: { readonly [K in CureKind]: KindOfCure<K> } = {
  proof,
  approval,
  reason,
  activation,
  fresh_sign_in: freshSignIn,
  preview,
};

// Each kind only ever meets cures of its own; TypeScript can't follow that through the index.
const kindOf = (kind: CureKind): KindOfCure => kinds[kind] as unknown as KindOfCure;

export const cureKinds = Object.keys(kinds) as readonly CureKind[];

export const cureForms = (kind: CureKind): readonly string[] => kinds[kind].forms;

/** What of the context a cure changes, by its first names. */
export const cureSets = (kind: CureKind): readonly string[] => kinds[kind].sets;

export type ParsedCure =
  | { readonly kind: 'cure'; readonly cure: Cure }
  /** `at` counts UTF-16 code units from the beginning of the text. */
  | { readonly kind: 'fault'; readonly at: number; readonly message: string; readonly help: string };

export function parseCure(text: string): ParsedCure {
  const words = wordsOf(text);
  const word = words.peek();
  const kind = cureKinds.find((known) => known === word);
  if (word === undefined || kind === undefined) {
    const near = word === undefined ? undefined : suggest(word, cureKinds);
    return {
      kind: 'fault',
      at: Math.max(0, text.search(/\S/)),
      message: word === undefined ? 'the cure is empty' : `\`${word}\` is not a cure`,
      help: near === undefined ? `a cure begins with ${listed(cureKinds)}` : `did you mean \`${near}\`?`,
    };
  }
  const forms = `write ${listed(kinds[kind].forms)}`;
  try {
    words.next('the kind of cure');
    const cure = kindOf(kind).parse(words);
    const rest = words.peek();
    if (rest !== undefined)
      words.fail(
        `\`${rest}\` is not understood`,
        rest === 'and' || rest === ','
          ? 'a policy has one cure; a second `forbid` with the other asks for both'
          : forms,
      );
    return { kind: 'cure', cure };
  } catch (error) {
    if (!(error instanceof CureFault)) throw error;
    return { kind: 'fault', at: error.at, message: error.message, help: error.help ?? forms };
  }
}

const listed = (texts: readonly string[]): string => {
  const quoted = texts.map((text) => `\`${text}\``);
  return quoted.length === 1 ? (quoted[0] ?? '') : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
};

/** `your passkey`, `an approval by dba` */
export const describeCure = (cure: Cure): string => kindOf(cure.kind).describe(cure);

/** What all of them ask for, to follow "needs": `your passkey and an approval by dba`. */
export function describeCures(cures: readonly Cure[]): string {
  const words = [...new Set(cures.map(describeCure))];
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** What the context would be told once these were obtained. */
export function assumeCured(from: Circumstances, cures: readonly Cure[]): Cured {
  let cured = from.cured ?? {};
  for (const cure of cures) cured = kindOf(cure.kind).assume(cure, { ...from, cured });
  return cured;
}

/**
 * What policy is told when of these demands the ones that `isMet` says are met: a kind counts as obtained when every demand
 * of that kind is. What else the circumstances say was obtained stays.
 */
export function curedBy(demands: readonly Demand[], isMet: (demand: Demand) => boolean, before?: Cured): Cured {
  const cured: { -readonly [K in keyof Cured]: Cured[K] } = { ...before };
  for (const [kind, key] of Object.entries(keys) as [CureKind, (typeof keys)[CureKind]][]) {
    const of = demands.filter(({ cure }) => cure.kind === kind);
    if (of.length > 0 && of.every(isMet)) cured[key] = true;
  }
  return cured;
}

const keys = {
  proof: 'proof',
  approval: 'approval',
  reason: 'reason',
  activation: 'activation',
  fresh_sign_in: 'freshSignIn',
  preview: 'preview',
} as const satisfies Record<CureKind, keyof Cured>;

/** Of these, the ones that the circumstances meet already. */
export function metAlready(cures: readonly Cure[], from: Circumstances): Cured | undefined {
  const met = curedBy(
    cures.map((cure) => ({ policy: '', cure })),
    ({ cure }) => kindOf(cure.kind).isMet?.(cure, from) === true,
    from.cured,
  );
  const isNew = Object.entries(met).some(([key, value]) => from.cured?.[key as keyof Cured] !== value);
  return isNew ? met : undefined;
}

/** Each cure once, in the order they were met. */
export function distinctCures(cures: readonly Cure[]): readonly Cure[] {
  const seen = new Map<string, Cure>();
  for (const cure of cures) seen.set(JSON.stringify(cure), cure);
  return [...seen.values()];
}
