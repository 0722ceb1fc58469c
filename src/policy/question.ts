/** What can be asked of `decide()`: one member per action. Roles and resources are named; the engine knows them. */
import type { GrantId, PrincipalId, RequestId, RoleName, SessionId } from '#core/ids.ts';
import type { Duration, Instant } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { Need } from '#sql/needs.ts';

/** What has been obtained already for exactly this question; it reaches policy as input and is never a pass. */
export type Cured = {
  /** A passkey signed this very content. */
  readonly proof?: boolean;
  /** The people asked for approved this very content. */
  readonly approval?: boolean;
  readonly reason?: boolean;
  readonly activation?: boolean;
  readonly freshSignIn?: boolean;
};

type Asked = {
  readonly principal: Principal;
  /** `context.time`; left out where the answer must not depend on the moment (statements, whose answers are cached). */
  readonly now?: Instant;
  readonly cured?: Cured;
};

type GrantRef = { readonly id: GrantId; readonly principal: PrincipalId; readonly role: RoleName };

export type Administered = 'principals' | 'configuration' | 'grants' | 'sessions' | 'authenticators';

/** One statement in a session of exactly one grant: its role is the only live one, so overlapping grants don't add up. */
export type StatementQuestion = Asked & {
  readonly action: 'statement';
  readonly role: RoleName;
  readonly needs: readonly Need[];
  readonly context: {
    /** What kind of statement it is, as `src/sql` names it. */
    readonly statementClass: string;
    readonly hasWhere: boolean;
    readonly statementCount: number;
  };
};

export type Question =
  | (Asked & {
      readonly action: 'request_role';
      readonly role: RoleName;
      readonly duration: Duration;
      readonly startsAt?: Instant;
      readonly actsFor?: readonly PrincipalId[];
    })
  | (Asked & {
      /** To approve and to deny: the same right. */
      readonly action: 'approve_request';
      readonly request: {
        readonly id: RequestId;
        readonly requester: PrincipalId;
        readonly actsFor: readonly PrincipalId[];
        readonly role: RoleName;
        readonly duration: Duration;
      };
    })
  | (Asked & { readonly action: 'activate_grant'; readonly grant: GrantRef })
  | (Asked & {
      readonly action: 'connect';
      readonly grant: GrantRef;
      readonly client: { readonly address: string; readonly tls: boolean };
    })
  | (Asked & { readonly action: 'administer'; readonly what: Administered })
  | (Asked & { readonly action: 'revoke_grant'; readonly grant: GrantRef })
  | (Asked & { readonly action: 'read_log'; readonly scope: 'own' | 'all' })
  | (Asked & {
      readonly action: 'read_session';
      readonly session: { readonly id: SessionId; readonly principal: PrincipalId; readonly role: RoleName };
    })
  | StatementQuestion;
