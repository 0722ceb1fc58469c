/**
 * The Cedar schema: every entity, action and context that a policy can speak about. `policies/sallyport.cedarschema` is a
 * copy of it for editors; a test holds the two together. Attribute names are in `snake_case`, as usual in Cedar.
 *
 * A live grant is an entity parent: within a session under a grant of it, and nowhere else, the principal is in the Role.
 */

// Of every action. Cedar's records can't be made of one another, so it is written out in each.
const common = `
  time: datetime,
  // Within the configuration's working-hours.
  working_hours: Bool,
  client: Client,
  device: Device,
  sign_in: SignIn,
  // Who the principal acts for: empty for who acts for themselves.
  acts_for: Set<User>,
  proof: Proof,
  approval: Approval,
  reason: Reason,
  activation: Activation,
  preview: Preview,
`;

const indent = (text: string, by: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => `${by}${line.trim()}`)
    .join('\n');

export const schema = `// The words of Sallyport's policies. Made by src/policy/schema.ts; edit that.

// Where the principal comes from: the connection's address or that of the request to the API, and the names of the networks
// (\`networks\` of the configuration) it is in. There is no address on a Unix socket.
type Client = { address?: ipaddr, networks: Set<String>, tls: Bool };

// The key that the credential was issued to, or the passkey that signed in: known is one that was seen before, and how long ago.
type Device = { known: Bool, age?: duration };

// How and how long ago the principal proved who they are. Fresh: as the cures of the policies in question ask.
type SignIn = { fresh: Bool, method: String, age?: duration };

// What has been obtained for exactly this question. A forbid may ask for it and say with @cure("…") how to get it.
// age: since the latest proof under this grant; authenticator_age: how long the key that signed had been enrolled.
type Proof = { covers_action: Bool, age?: duration, authenticator_age?: duration };
// count: how many different people have approved, enough or not.
type Approval = { covers_action: Bool, count: Long };
type Reason = { given: Bool };
type Activation = { done: Bool };
type Preview = { confirmed: Bool };

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
// approvals: how many people approved the request.
entity Grant = {
  owner: User,
  role: Role,
  reason: String,
  ticket?: String,
  approvals: Long,
  activated_at?: datetime,
  ends_at?: datetime,
};
entity Session = { owner: User, role: Role };
entity Administration enum ["principals", "configuration", "grants", "sessions", "authenticators"];
entity Log enum ["own", "all"];

type Plain = {
${indent(common, '  ')}
};

action request_role appliesTo {
  principal: User,
  resource: Role,
  context: {
    duration: duration,
    starts_at?: datetime,
    ticket?: String,
${indent(common, '    ')}
  },
};

// To approve and to deny.
action approve_request appliesTo { principal: User, resource: Request, context: Plain };
action activate_grant appliesTo { principal: User, resource: Grant, context: Plain };
action revoke_grant appliesTo { principal: User, resource: Grant, context: Plain };
action read_log appliesTo { principal: User, resource: Log, context: Plain };
action read_session appliesTo { principal: User, resource: Session, context: Plain };

action administer appliesTo {
  principal: User,
  resource: Administration,
  context: {
    // How many there are who could do it, the principal among them.
    administrators: Long,
${indent(common, '    ')}
  },
};

// The passkeys of the resource, who may be the principal.
action manage_authenticators appliesTo {
  principal: User,
  resource: User,
  context: {
    // add, remove or reset
    change: String,
    // How many they have.
    authenticators: Long,
    administrators: Long,
${indent(common, '    ')}
  },
};

// To open a session under a grant. The principal is in the grant's role.
action connect appliesTo {
  principal: User,
  resource: Resource,
  context: {
    grant: Grant,
${indent(common, '    ')}
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
    // Every table of the whole statement, and the functions that it calls by name ("public.refund").
    tables: Set<Table>,
    functions: Set<String>,
    // read, write, ddl, session, transaction or dangerous
    class: String,
    has_where: Bool,
    // How many statements came in one string.
    statement_count: Long,
    // What the target's planner expects. Looked up only for policies that mention it; not every statement has a plan.
    estimated_rows?: Long,
    // The one that the session is under.
    grant: Grant,
${indent(common, '    ')}
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
