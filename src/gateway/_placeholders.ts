/** Stand-ins for types that other folders land in a moment; removed then. */
export type Need = { readonly action: string; readonly object: unknown; readonly columns?: readonly string[] };
