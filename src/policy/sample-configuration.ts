/**
 * The configuration of the sample target: the example of `examples/orders` with the three values that are only known once
 * the sample runs. The texts are passed in, since this folder reads no files.
 */
import { isMap, parseDocument } from 'yaml';
import type { PolicyFile } from './engine.ts';

export type SampleValues = {
  /** `host:port` of the sample server: a loopback address unless there is a `caFile`. */
  readonly address: string;
  /** Where the password of its administrator is. */
  readonly passwordFile: string;
  /** The roots to verify the sample server with; without it the connection isn't encrypted. */
  readonly caFile?: string;
  /** The database user that makes roles and logins; `sallyport_admin` when left out. */
  readonly adminUser?: string;
};

/** `example` is the content of `examples/orders/sallyport.yaml` and of the files in `examples/orders/policies/`. */
export function sampleConfigurationText(
  values: SampleValues,
  example: { readonly yaml: string; readonly policies: readonly PolicyFile[] },
): { readonly yaml: string; readonly policies: readonly PolicyFile[] } {
  // Put in as values of the parsed document, so that no path or address can become YAML of its own.
  const document = parseDocument(example.yaml);
  const orders = document.getIn(['resources', 'orders']);
  if (document.errors.length > 0 || !isMap(orders)) throw new Error('the example configuration does not parse');
  orders.set('address', values.address);
  orders.set(
    'tls',
    document.createNode(values.caFile === undefined ? { mode: 'disable' } : { mode: 'verify-full', ca: values.caFile }),
  );
  orders.setIn(['admin', 'password'], document.createNode({ file: values.passwordFile }));
  if (values.adminUser !== undefined) orders.setIn(['admin', 'user'], values.adminUser);
  return { yaml: document.toString({ lineWidth: 120 }), policies: example.policies };
}
