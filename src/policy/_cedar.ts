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
  | 'schemaToJson'
  | 'isAuthorized'
>;

type Memory = { readonly buffer: { readonly byteLength: number } };

export type Attempt<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'fault'; readonly cause: unknown };

export type CedarInstances = {
  /** Runs against the present instance. `generation` changes with the instance: what was parsed ahead is gone then. */
  readonly attempt: <T>(run: (cedar: Cedar, generation: number) => T) => Attempt<T>;
  /** Resolves when a spare is ready again. */
  readonly settled: () => Promise<void>;
  /** How often an instance had to be replaced. */
  readonly faults: () => number;
  /** The present instance's linear memory. */
  readonly memoryBytes: () => number;
};

// The one piece of state that belongs to the process: the module cache does too, and two engines that shared a module would
// share an instance and overwrite each other's policies.
let modules = 0;

/** `wasm` is the content of the package's `web/cedar_wasm_bg.wasm`; reading files is not this folder's business. */
export async function createCedarInstances(wasm: Uint8Array): Promise<CedarInstances> {
  let generation = 1;
  const make = async (): Promise<{ readonly bindings: Cedar; readonly memory: Memory }> => {
    modules += 1;
    // Each URL is a module of its own, with its own instance behind it.
    const url = `${import.meta.resolve('@cedar-policy/cedar-wasm/web')}?instance=${modules}`;
    const bindings = (await import(url)) as typeof Bindings;
    const { memory } = bindings.initSync({ module: wasm });
    return { bindings, memory };
  };
  type Instance = Awaited<ReturnType<typeof make>>;
  let current: Instance | undefined = await make();
  let spare: Instance | undefined = await make();
  let faults = 0;
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
    faults += 1;
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
        return { kind: 'done', value: run(current.bindings, generation) };
      } catch (cause) {
        replace();
        return { kind: 'fault', cause };
      }
    },
    settled: async () => making,
    faults: () => faults,
    memoryBytes: () => current?.memory.buffer.byteLength ?? 0,
  };
}
