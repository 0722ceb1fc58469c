/** What can be asked of `decide()`: one member per action. Roles and resources are named; the engine knows them. */
import type { GrantId, PrincipalId, RequestId, RoleName, SessionId } from '#core/ids.ts';
import type { Duration, Instant } from '#core/instant.ts';
import type { Principal } from '#core/principal.ts';
import type { Need } from '#sql/needs.ts';

/** What has been obtained already for exactly this question; it reaches policy as input and is never a pass. */
export type Cured = {
  /** Every proof that is demanded is there: a passkey signed this very content, or a cover of the demanding policy holds. */
  readonly proof?: boolean;
  /** Every approval that is demanded is there. */
  readonly approval?: boolean;
  readonly reason?: boolean;
  readonly activation?: boolean;
  readonly freshSignIn?: boolean;
  /** Who was to see the preview said that it stays. */
  readonly preview?: boolean;
  /** How many different people have approved this very content, enough or not. */
  readonly approvals?: number;
  /** Since the latest proof under this grant, whatever it was over. */
  readonly proofAge?: Duration;
  /** How long the key that signed had been enrolled. */
  readonly authenticatorAge?: Duration;
};

/** What an answer may hang on besides who asks and for what. What is left out is unknown, which is the less trusted. */
export type Circumstances = {
  /** `context.time`, and with the configuration's `working-hours` `context.working_hours`. */
  readonly now: Instant;
  /** The networks it is in are the configuration's. */
  readonly client?: { readonly address: string; readonly tls: boolean };
  /** The key that the credential was issued to or that signed in: known is one that was seen before this sign-in. */
  readonly device?: { readonly known: boolean; readonly age?: Duration };
  /** The last time the principal proved who they are. Fresh without age: only what the question itself counts as fresh. */
  readonly signIn?: { readonly method: string; readonly age?: Duration };
  /** Who the principal acts for, through however many. */
  readonly actsFor?: readonly PrincipalId[];
  readonly cured?: Cured;
  /** The longest-enrolled key that the principal could sign with: nobody is sent for a proof that their keys can't give. */
  readonly oldestAuthenticator?: Duration;
};

type Asked = Circumstances & { readonly principal: Principal };

export type GrantRef = {
  readonly id: GrantId;
  readonly principal: PrincipalId;
  readonly role: RoleName;
  readonly reason?: string;
  readonly ticket?: string;
  /** How many people approved the request. */
  readonly approvals?: number;
  readonly activatedAt?: Instant;
  readonly endsAt?: Instant;
};

export type Administered = 'principals' | 'configuration' | 'grants' | 'sessions' | 'authenticators';

/** One statement in a session of exactly one grant: its role is the only live one, so overlapping grants don't add up. */
export type StatementQuestion = Asked & {
  readonly action: 'statement';
  readonly role: RoleName;
  /** Without one (what would a role give?) policy sees a grant with no reason and no approvals. */
  readonly grant?: GrantRef;
  readonly needs: readonly Need[];
  readonly context: {
    /** What kind of statement it is, as `src/sql` names it. */
    readonly statementClass: string;
    readonly hasWhere: boolean;
    readonly statementCount: number;
    /** Qualified names of the functions it calls by name. */
    readonly functions: readonly string[];
    /** What the target's planner expects it to touch or to read. Asked for by `wantsEstimate` only. */
    readonly estimatedRows?: number;
  };
};

export type Question =
  | (Asked & {
      readonly action: 'request_role';
      readonly role: RoleName;
      readonly duration: Duration;
      readonly startsAt?: Instant;
      readonly ticket?: string;
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
  | (Asked & {
      readonly action: 'administer';
      readonly what: Administered;
      /** Active administrators there are, the asker among them: a second person can only be asked for where there is one. */
      readonly administrators?: number;
    })
  | (Asked & {
      /** Of oneself or of somebody else. */
      readonly action: 'manage_authenticators';
      readonly of: Principal;
      readonly change: 'add' | 'remove' | 'reset';
      /** How many the person has before it. */
      readonly authenticators: number;
      readonly administrators: number;
    })
  | (Asked & { readonly action: 'revoke_grant'; readonly grant: GrantRef })
  | (Asked & { readonly action: 'read_log'; readonly scope: 'own' | 'all' })
  | (Asked & {
      readonly action: 'read_session';
      readonly session: { readonly id: SessionId; readonly principal: PrincipalId; readonly role: RoleName };
    })
  | StatementQuestion;
