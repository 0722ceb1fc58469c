import type { Catalogue } from './catalogue.ts';

/** What a name means at this moment of this session. */
export type Names = {
  readonly catalogue: Catalogue;
  /** The effective schemas in order, as `current_schemas(true)` returns them: with pg_temp_N and pg_catalog. */
  readonly searchPath: readonly string[];
  readonly user: string;
  /**
   * Did a statement with `mayChangeNames` run in the transaction that is open now? Its end would take that back, so what
   * follows it in the same text can't be judged by this path. Taken for true when it isn't said.
   */
  readonly changedInTransaction?: boolean;
  /** The session's prepared statements: the text of the `prepare`, or of the protocol's Parse message, by name. */
  readonly prepared?: ReadonlyMap<string, string>;
};

/** The path may have changed and the server has not been asked: an unqualified name of a relation can't be judged. */
export type UnknownNames = {
  readonly unknownPath: true;
  /** Definitions may have changed since the catalogue was read: nothing at all can be looked up in it. */
  readonly unknownDefinitions?: boolean;
  readonly catalogue: Catalogue;
  readonly prepared?: ReadonlyMap<string, string>;
};
