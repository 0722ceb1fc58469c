/**
 * Instances of Cedar's WebAssembly. One that has thrown is never asked again: its memory can't be trusted. A spare stands
 * ready to take over at once, and the next spare is made meanwhile; without one every question is refused.
 */
import type * as Bindings from '@cedar-policy/cedar-wasm/web';

export type Cedar = Pick<
  typeof Bindings,
  | 'preparsePolicySet'
  | 'preparseSchema'
  | 'statefulIsAuthorized'
  | 'validate'
  | 'policyToJson'
  | 'getCedarVersion'
  | 'checkParsePolicySet'
>;

export type Attempt<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'fault'; readonly cause: unknown };

export type CedarInstances = {
  /** Runs against the present instance. `generation` changes with the instance: what was parsed ahead is gone then. */
  readonly attempt: <T>(run: (cedar: Cedar, generation: number) => T) => Attempt<T>;
  /** Resolves when a spare is ready again. */
  readonly settled: () => Promise<void>;
};

/** `wasm` is the content of the package's `web/cedar_wasm_bg.wasm`; reading files is not this folder's business. */
export async function createCedarInstances(wasm: Uint8Array): Promise<CedarInstances> {
  let count = 0;
  let generation = 1;
  const make = async (): Promise<Cedar> => {
    count += 1;
    // Each URL is a module of its own, with its own instance behind it.
    const url = `${import.meta.resolve('@cedar-policy/cedar-wasm/web')}?instance=${count}`;
    const bindings = (await import(url)) as typeof Bindings;
    bindings.initSync({ module: wasm });
    return bindings;
  };
  let current: Cedar | undefined = await make();
  let spare: Cedar | undefined = await make();
  let making: Promise<void> | undefined;

  const refill = () => {
    making ??= (async () => {
      try {
        // While one is made the other may be used up.
        while (current === undefined || spare === undefined) {
          const made = await make();
          if (current === undefined) current = made;
          else spare = made;
        }
      } catch {
        // Nothing is answered until a later attempt has made one.
      } finally {
        making = undefined;
      }
    })();
  };
  const replace = () => {
    current = spare;
    spare = undefined;
    generation += 1;
    refill();
  };

  return {
    attempt: (run) => {
      if (current === undefined) {
        refill();
        return { kind: 'fault', cause: new Error('no instance of the policy evaluator is ready') };
      }
      try {
        return { kind: 'done', value: run(current, generation) };
      } catch (cause) {
        replace();
        return { kind: 'fault', cause };
      }
    },
    settled: async () => making,
  };
}
