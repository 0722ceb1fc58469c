/**
 * The Cedar schema: every entity, action and context that a policy can speak about. `policies/sallyport.cedarschema` is a
 * copy of it for editors; a test holds the two together. Attribute names are in `snake_case`, as usual in Cedar.
 *
 * A live grant is an entity parent: within a session under a grant of it, and nowhere else, the principal is in the Role.
 */
export const schema = `// The words of Sallyport's policies. Made by src/policy/schema.ts; edit that.

// What has been obtained for exactly this question. A forbid may ask for it and say with @cure("…") how to get it.
type Proof = { covers_action: Bool };
type Approval = { covers_action: Bool };
type Reason = { given: Bool };
type Activation = { done: Bool };
type SignIn = { fresh: Bool };

entity Group;

// \`handle\` is the name people use; \`kind\` is user, service or agent.
entity User in [Group, Role] = { handle: String, kind: String };

// The labels of the configuration are tags: resource.getTag("environment") == "production"
entity Resource = { kind: String } tags String;

entity Role = {
  on: Resource,
  requesters: Set<Group>,
  approvers: Set<Group>,
  max_duration: duration,
};

entity Request = { requester: User, acts_for: Set<User>, role: Role, duration: duration };
entity Grant = { owner: User, role: Role };
entity Session = { owner: User, role: Role };
entity Administration enum ["principals", "configuration", "grants", "sessions", "authenticators"];
entity Log enum ["own", "all"];

action request_role appliesTo {
  principal: User,
  resource: Role,
  context: {
    duration: duration,
    acts_for: Set<User>,
    starts_at?: datetime,
    time?: datetime,
    proof: Proof,
    approval: Approval,
    reason: Reason,
    activation: Activation,
    sign_in: SignIn,
  },
};

// To approve and to deny.
action approve_request appliesTo { principal: User, resource: Request, context: Plain };
action activate_grant appliesTo { principal: User, resource: Grant, context: Plain };
action revoke_grant appliesTo { principal: User, resource: Grant, context: Plain };
action administer appliesTo { principal: User, resource: Administration, context: Plain };
action read_log appliesTo { principal: User, resource: Log, context: Plain };
action read_session appliesTo { principal: User, resource: Session, context: Plain };

type Plain = {
  time?: datetime,
  proof: Proof,
  approval: Approval,
  reason: Reason,
  activation: Activation,
  sign_in: SignIn,
};

// To open a session under a grant. The principal is in the grant's role.
action connect appliesTo {
  principal: User,
  resource: Resource,
  context: {
    grant: Grant,
    address?: ipaddr,
    tls: Bool,
    time?: datetime,
    proof: Proof,
    approval: Approval,
    reason: Reason,
    activation: Activation,
    sign_in: SignIn,
  },
};

namespace PG {
  // Named "resource/schema.table"; a part that isn't a plain lower-case name is in double quotes, as in SQL.
  entity Table in [Resource] = { on: Resource, schema: String, name: String };
  entity Function in [Resource] = { on: Resource, schema: String, name: String };
  // Of \`listen\` and \`notify\`. Named "resource/channel"; "resource/*" is the one of which only the run will show which it is.
  entity Channel in [Resource] = { on: Resource, name?: String };
  // Named as its resource is.
  entity Database in [Resource] = { on: Resource };

  type Statement = {
    // The columns touched; empty when it is no particular column.
    columns: Set<String>,
    // read, write, ddl, session, transaction or dangerous
    class: String,
    has_where: Bool,
    // How many statements came in one string.
    statement_count: Long,
    time?: datetime,
    proof: Proof,
    approval: Approval,
    reason: Reason,
    activation: Activation,
    sign_in: SignIn,
  };

  action reading, writing, destructive;
  action select in [reading] appliesTo { principal: User, resource: Table, context: Statement };
  action insert in [writing] appliesTo { principal: User, resource: Table, context: Statement };
  action update in [writing] appliesTo { principal: User, resource: Table, context: Statement };
  action delete in [writing, destructive] appliesTo { principal: User, resource: Table, context: Statement };
  action truncate in [writing, destructive] appliesTo { principal: User, resource: Table, context: Statement };
  action ddl in [destructive] appliesTo { principal: User, resource: [Table, Function, Database], context: Statement };
  action copy appliesTo { principal: User, resource: [Table, Database], context: Statement };
  action call appliesTo { principal: User, resource: [Function, Database], context: Statement };
  action listen, notify appliesTo { principal: User, resource: Channel, context: Statement };
  action other in [destructive] appliesTo { principal: User, resource: [Table, Function, Database], context: Statement };
}
`;
