/** What the API shows and takes, as schemas. Times are RFC 3339 in UTC with milliseconds; durations are whole seconds. */
import { z } from 'zod';

const instant = z.iso.datetime({ precision: 3 });
const id = (prefix: string) => z.string().regex(new RegExp(`^${prefix}_[0-9a-hjkmnp-tv-z]{26}$`));

export const principalId = id('usr');
export const requestId = id('req');
export const grantId = id('grt');
export const sessionId = id('ses');
export const proofId = id('prf');
export const planId = id('pln');
export const authenticatorId = id('key');
export const holdId = id('hld');
export const coverId = id('cov');
export const denialId = id('den');
export const roleName = z.string().regex(/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*\/[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/);
export const handle = z
  .string()
  .min(2)
  .max(32)
  .regex(/^[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*$/, 'a handle is lower-case letters and digits, with single . _ - between');
export const groupName = z
  .string()
  .max(64)
  .regex(
    /^[a-z][a-z0-9]*(?:[._:-][a-z0-9]+)*$/,
    'a group is lower-case letters and digits, with single . _ : - between',
  );
const shortText = z.string().trim().min(1).max(200);

export const principalRef = z.object({ id: principalId, handle: z.string() }).meta({ id: 'PrincipalRef' });

/** WebAuthn Level 3 §5.1 JSON forms. They pass through unread here; identity parses them. */
const webauthnJson = z.record(z.string(), z.unknown());

export const me = z
  .object({
    principal: principalRef,
    name: z.string(),
    groups: z.array(z.string()),
    session: z.object({ kind: z.enum(['web', 'cli']), expiresAt: instant, provenAt: instant }),
    may: z.object({
      administerPrincipals: z.boolean(),
      administerConfiguration: z.boolean(),
      seeAllGrants: z.boolean(),
      readLog: z.enum(['own', 'all']),
    }),
    authenticators: z.number().int(),
    notices: z
      .array(z.object({ at: instant, words: z.string() }))
      .describe('what became of your passkeys since the sign-in before this one: nobody else’s doing should go unseen'),
  })
  .meta({ id: 'Me' });
export type Me = z.infer<typeof me>;

export const about = z
  .object({
    name: z.literal('sallyport'),
    version: z.string(),
    publicUrl: z.string(),
    logKey: z.string().describe('the verifier key of the log, in the text form of C2SP signed-note'),
    postgres: z.object({ host: z.string(), port: z.number().int() }),
  })
  .meta({ id: 'About' });

export const link = z
  .object({
    kind: z.enum(['bootstrap', 'enrolment']),
    principal: z
      .object({ handle: z.string(), name: z.string() })
      .nullable()
      .describe('null: the first administrator chooses a handle'),
    expiresAt: instant,
  })
  .meta({ id: 'Link' });

export const ceremony = z.object({ ceremony: z.string(), options: webauthnJson, expiresAt: instant }).meta({
  id: 'Ceremony',
  description: 'options for navigator.credentials.create/get, in the JSON form of WebAuthn Level 3',
});

const permissionView = z.object({
  object: z.string().describe('`public.orders`'),
  actions: z.array(
    z.object({ action: z.string(), columns: z.array(z.string()).nullable().describe('null: every column') }),
  ),
});

export const roleView = z
  .object({
    role: roleName,
    resource: z.string(),
    kind: z.literal('postgres'),
    description: z.string(),
    resourceDescription: z.string(),
    labels: z.record(z.string(), z.string()),
    maxSeconds: z.number().int(),
    permissions: z.array(permissionView),
    approvers: z.object({ groups: z.array(z.string()), count: z.number().int() }),
    mayRequest: z.boolean(),
    pendingRequest: requestId.nullable(),
    grant: grantId.nullable().describe('your approved or active grant that ends last'),
  })
  .meta({ id: 'Role' });
export type RoleView = z.infer<typeof roleView>;

export const requestState = z.enum(['pending', 'approved', 'denied', 'withdrawn', 'expired']);
export const requestView = z
  .object({
    id: requestId,
    state: requestState,
    requester: principalRef,
    role: roleName,
    resource: z.string(),
    seconds: z.number().int(),
    reason: z.string(),
    ticket: z.string().nullable(),
    startsAt: instant.nullable(),
    filedAt: instant,
    expiresAt: instant,
    decidedAt: instant.nullable(),
    statement: z
      .object({ denial: denialId, text: z.string(), parameters: z.array(z.string()), once: z.boolean() })
      .nullable()
      .describe('the refused statement that it is about'),
    approvals: z.array(z.object({ by: principalRef, at: instant, proof: proofId })),
    approvalsNeeded: z.number().int(),
    approverGroups: z.array(z.string()),
    denial: z.object({ by: principalRef, word: z.string() }).nullable(),
    grant: grantId.nullable(),
    permissions: z.array(permissionView),
    you: z.object({
      isRequester: z.boolean(),
      mayDecide: z.boolean(),
      because: z.string().nullable().describe('why you may not decide'),
    }),
  })
  .meta({ id: 'Request' });
export type RequestView = z.infer<typeof requestView>;

export const grantState = z.enum(['approved', 'active', 'ended']);
export const grantView = z
  .object({
    id: grantId,
    state: grantState,
    request: requestId,
    principal: principalRef,
    role: roleName,
    resource: z.string(),
    seconds: z.number().int(),
    reason: z.string(),
    notBefore: instant,
    activateBy: instant,
    activatedAt: instant.nullable(),
    endsAt: instant.nullable(),
    endedAt: instant.nullable(),
    how: z.enum(['expired', 'revoked', 'completed', 'handed_back']).nullable(),
    endedBy: principalRef.nullable(),
    openSessions: z.number().int(),
    once: z.boolean().describe('for one run of one statement only'),
    you: z.object({ mayActivate: z.boolean(), mayConnect: z.boolean(), mayEnd: z.boolean() }),
  })
  .meta({ id: 'Grant' });
export type GrantView = z.infer<typeof grantView>;

export const coverView = z
  .object({
    id: coverId,
    hold: holdId,
    policy: z.string().describe('the policy that asked, and that this satisfies for a while'),
    kind: z.enum(['proof', 'approval']),
    over: z.enum(['statement', 'tables', 'grant']),
    tables: z.array(z.string()).describe('the actions on their objects that it reaches, with `over: tables`'),
    clientAddress: z.string(),
    createdAt: instant,
    expiresAt: instant,
    uses: z.number().int().describe('how many statements it has let through'),
    endedAt: instant.nullable(),
  })
  .meta({ id: 'Cover' });

export const holdState = z.enum(['waiting', 'cured', 'released', 'denied', 'withdrawn', 'expired', 'ended']);
const cells = z.array(z.array(z.string().nullable()));
export const holdView = z
  .object({
    id: holdId,
    subject: z.enum(['statement', 'act']),
    state: holdState,
    requester: principalRef,
    actsFor: z.array(principalRef).describe('whom the requester acts for, nearest first'),
    resource: z.string().nullable(),
    role: roleName.nullable(),
    grant: z
      .object({ id: grantId, reason: z.string(), ticket: z.string().nullable(), endsAt: instant.nullable() })
      .nullable(),
    session: sessionId.nullable(),
    title: z.string().describe('one line: the statement’s beginning, or the act'),
    text: z.string().nullable().describe('the statement, exactly; show invisible characters in it'),
    parameters: z.array(z.string()).describe('bound parameters as they are signed, one each'),
    words: z.array(z.string()).describe('of an act: what it does, a line each'),
    needs: z.array(z.string()).describe('what the statement does, as in `update on public.orders (status)`'),
    tables: z.array(z.string()),
    inTransaction: z.boolean().describe('locks are held while it waits'),
    preview: z
      .object({ rows: z.number().int(), tag: z.string(), columns: z.array(z.string()), before: cells, after: cells })
      .nullable()
      .describe('what its run has touched, in a transaction that waits; null: there is none, or not yet'),
    cures: z.array(
      z.object({
        kind: z.enum(['proof', 'approval', 'reason', 'activation', 'fresh_sign_in', 'preview']),
        words: z.string(),
        policy: z.string(),
        done: z.boolean(),
      }),
    ),
    covers: z.array(z.string()).describe('what a signature goes on letting through for a while, in words'),
    signatures: z.array(
      z.object({
        by: principalRef,
        kind: z.enum(['proof', 'approval']),
        at: instant,
        rowsAtMost: z.number().int().nullable(),
        validSeconds: z.number().int().nullable(),
      }),
    ),
    reason: z.string().nullable().describe('given for this very statement'),
    askedBy: z.array(z.object({ policy: z.string() })),
    openedAt: instant,
    expiresAt: instant,
    settled: z.object({ at: instant, by: principalRef.nullable(), word: z.string().nullable() }).nullable(),
    earlier: z
      .array(z.object({ at: instant, summary: z.string() }))
      .describe('the last statements of the session, newest first; of one hold only'),
    you: z.object({
      isRequester: z.boolean(),
      canProve: z.boolean(),
      canApprove: z.boolean(),
      canDeny: z.boolean(),
      canWithdraw: z.boolean(),
      canGiveReason: z.boolean(),
      because: z.string().nullable().describe('why you can’t sign'),
    }),
  })
  .meta({ id: 'Hold' });
export type HoldView = z.infer<typeof holdView>;

export const denialView = z
  .object({
    id: denialId,
    at: instant,
    principal: principalRef,
    session: sessionId,
    grant: grantId,
    role: roleName,
    resource: z.string(),
    text: z.string(),
    parameters: z.array(z.string()),
    digest: z
      .string()
      .nullable()
      .describe('what a grant for this statement only is bound to; null: it can’t be asked for'),
    roles: z.array(roleName).describe('roles that would have given it, the narrowest first'),
  })
  .meta({ id: 'Denial' });

export const credentialView = z
  .object({
    grant: grantId,
    user: z.string(),
    password: z.string().describe('shown once; kept only as a SCRAM verifier'),
    host: z.string(),
    port: z.number().int(),
    database: z.string(),
    sslmode: z.enum(['verify-full']),
    caCertificate: z.string().describe('PEM of the root that the gateway’s certificate chains to'),
    expiresAt: instant,
  })
  .meta({ id: 'Credential' });
export type CredentialView = z.infer<typeof credentialView>;

export const sessionView = z
  .object({
    id: sessionId,
    state: z.enum(['open', 'ended']),
    grant: grantId,
    principal: principalRef,
    role: roleName,
    resource: z.string(),
    openedAt: instant,
    endedAt: instant.nullable(),
    how: z.string().nullable(),
    word: z.string().nullable(),
    client: z.object({ address: z.string(), application: z.string().nullable() }),
    statements: z.number().int(),
  })
  .meta({ id: 'Session' });
export type SessionView = z.infer<typeof sessionView>;

export const logEntryView = z
  .object({
    index: z.number().int().nullable().describe('null for the moment until the tree has taken it in'),
    id: id('ent'),
    at: instant,
    kind: z.string(),
    actor: z.union([principalRef, z.literal('system'), z.literal('stranger')]),
    subject: z.record(z.string(), z.string()),
    facts: z.record(z.string(), z.unknown()).describe('the public part of the leaf'),
    content: z
      .record(z.string(), z.unknown())
      .nullable()
      .describe('the personal part, opened; null when there is none or its key is gone'),
    transaction: z
      .object({ number: z.string(), state: z.enum(['open', 'committed', 'rolled_back', 'unknown']) })
      .nullable()
      .describe(
        'of an ended statement: its transaction, by number within the session, and what has become of it by now',
      ),
    summary: z.string().describe('one line for people'),
  })
  .meta({ id: 'LogEntry' });
export type LogEntryView = z.infer<typeof logEntryView>;

export const principalView = z
  .object({
    id: principalId,
    handle: z.string(),
    name: z.string(),
    kind: z.enum(['user', 'service', 'agent']),
    state: z.enum(['invited', 'active', 'suspended']),
    groups: z.array(z.string()),
    createdAt: instant,
    lastSignInAt: instant.nullable(),
    authenticators: z.array(
      z.object({
        id: authenticatorId,
        name: z.string(),
        createdAt: instant,
        lastUsedAt: instant.nullable(),
        revokedAt: instant.nullable(),
      }),
    ),
  })
  .meta({ id: 'Principal' });
export type PrincipalView = z.infer<typeof principalView>;

/** What a proof is asked for. The server turns it into the canonical object that the passkey signs. */
export const proofAsk = z
  .discriminatedUnion('purpose', [
    z.object({ purpose: z.literal('approve_request'), request: requestId }),
    z.object({ purpose: z.literal('activate_grant'), grant: grantId }),
    z.object({ purpose: z.literal('invite_principal'), handle, name: shortText, groups: z.array(groupName).max(32) }),
    z.object({
      purpose: z.literal('change_principal'),
      principal: principalId,
      groups: z.array(groupName).max(32),
      state: z.enum(['active', 'suspended']),
    }),
    z.object({ purpose: z.literal('enrol_authenticator'), principal: principalId }),
    z.object({ purpose: z.literal('change_configuration'), plan: planId }),
    z.object({ purpose: z.literal('add_authenticator') }),
    z.object({ purpose: z.literal('remove_authenticator'), authenticator: authenticatorId }),
    z.object({
      purpose: z.literal('reset_authenticators'),
      principal: principalId,
      reason: z.string().trim().min(3).max(1000),
    }),
    z.object({ purpose: z.literal('do_action'), hold: holdId }),
    z.object({
      purpose: z.literal('approve_action'),
      hold: holdId,
      conditions: z
        .object({
          rowsAtMost: z.number().int().min(0).max(1_000_000_000).optional(),
          validSeconds: z.number().int().min(1).max(86_400).optional(),
        })
        .optional(),
    }),
    z.object({ purpose: z.literal('approve_act'), hold: holdId }),
  ])
  .meta({ id: 'ProofAsk' });
export type ProofAsk = z.infer<typeof proofAsk>;

export const proofOffer = z
  .object({
    id: proofId,
    object: z.record(z.string(), z.unknown()).describe('the canonical object; show exactly this'),
    words: z
      .array(z.object({ label: z.string(), value: z.string(), technical: z.boolean() }))
      .describe('the object in words, in order; `technical` lines may be folded away but are shown'),
    challenge: z.string().describe('base64url of SHA-256("sallyport/proof/v1" || 0x00 || JCS(object))'),
    options: webauthnJson,
    expiresAt: instant,
  })
  .meta({ id: 'ProofOffer' });
export type ProofOffer = z.infer<typeof proofOffer>;

export const oneTimeLink = z.object({ url: z.string(), expiresAt: instant }).meta({ id: 'OneTimeLink' });

/** What the act became. */
export const proofDone = z
  .discriminatedUnion('purpose', [
    z.object({ purpose: z.literal('approve_request'), request: requestView }),
    z.object({ purpose: z.literal('activate_grant'), grant: grantView }),
    z.object({ purpose: z.literal('invite_principal'), principal: principalView, link: oneTimeLink }),
    z.object({ purpose: z.literal('change_principal'), principal: principalView }),
    z.object({ purpose: z.literal('enrol_authenticator'), principal: principalView, link: oneTimeLink }),
    z.object({ purpose: z.literal('change_configuration'), plan: planId, version: z.string() }),
    z.object({ purpose: z.literal('add_authenticator'), principal: principalView, link: oneTimeLink }),
    z.object({ purpose: z.literal('remove_authenticator'), principal: principalView }),
    z.object({ purpose: z.literal('reset_authenticators'), principal: principalView, link: oneTimeLink }),
    z.object({ purpose: z.literal('do_action'), hold: holdView }),
    z.object({ purpose: z.literal('approve_action'), hold: holdView }),
    z.object({ purpose: z.literal('approve_act'), hold: holdView }),
  ])
  .meta({ id: 'ProofDone' });
export type ProofDone = z.infer<typeof proofDone>;

export const fault = z
  .object({
    file: z.string(),
    line: z.number().int(),
    column: z.number().int(),
    message: z.string(),
    help: z.string().optional(),
  })
  .meta({ id: 'Fault' });

export const planChange = z
  .object({
    what: z.enum(['resource', 'role', 'network', 'setting', 'policy']),
    name: z.string(),
    details: z.array(z.string()),
  })
  .meta({ id: 'PlanChange' });

export const planView = z
  .object({
    id: planId,
    state: z.enum(['open', 'applied', 'expired']),
    by: principalRef,
    createdAt: instant,
    expiresAt: instant,
    configurationHash: z.string(),
    added: z.array(planChange),
    changed: z.array(planChange),
    removed: z.array(planChange),
  })
  .meta({ id: 'Plan' });
export type PlanView = z.infer<typeof planView>;

export const configurationFiles = z
  .object({
    file: z.string().max(200).describe('the name to use in faults'),
    text: z.string().max(1_000_000),
    policies: z.array(z.object({ name: z.string().max(200), text: z.string().max(1_000_000) })).max(200),
  })
  .meta({ id: 'ConfigurationFiles' });

export const page = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next: z.string().nullable() });
export const pageQuery = {
  cursor: z.string().max(200).optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
};
export { instant, shortText, webauthnJson };
