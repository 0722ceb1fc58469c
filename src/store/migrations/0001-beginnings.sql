-- Everything the control plane remembers. Each table says what it holds; each constraint's name states its rule.
-- Whatever the code gets wrong, the database refuses as well: wrong transitions, own approvals, and changes without an
-- entry in the log (see `demand_entry`).

create table log_entry (
  seq bigint generated always as identity primary key,
  id text not null constraint an_entry_is_written_once unique,
  at timestamptz not null,
  kind text not null,
  actor text not null,
  subjects jsonb not null,
  leaf bytea not null,
  -- null until the sequencer has put it into the tree
  leaf_index bigint constraint a_place_in_the_tree_is_taken_once unique,
  -- whose eyes besides the actor's: the principals it is about
  about text[] not null default '{}',
  written_in xid8 not null default pg_current_xact_id()
);
comment on table log_entry is 'leaves of the transparency log, in the order they were committed';
create index log_entry_unsequenced on log_entry (seq) where leaf_index is null;
create index log_entry_kind on log_entry (kind, seq);
create index log_entry_about on log_entry using gin (about);
create index log_entry_subjects on log_entry using gin (subjects jsonb_path_ops);

create function refuse_rewriting_the_log() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or tg_op = 'TRUNCATE' then
    raise exception 'the log is append-only' using errcode = 'integrity_constraint_violation', constraint = 'the_log_is_append_only';
  end if;
  if (new.seq, new.id, new.at, new.kind, new.actor, new.subjects, new.leaf, new.about, new.written_in)
     is distinct from (old.seq, old.id, old.at, old.kind, old.actor, old.subjects, old.leaf, old.about, old.written_in)
     or old.leaf_index is not null then
    raise exception 'the log is append-only' using errcode = 'integrity_constraint_violation', constraint = 'the_log_is_append_only';
  end if;
  return new;
end $$;
create trigger the_log_is_append_only before update or delete on log_entry
  for each row execute function refuse_rewriting_the_log();
create trigger the_log_is_not_emptied before truncate on log_entry
  for each statement execute function refuse_rewriting_the_log();

create table content_key (
  id text primary key,
  -- null: not one person's (the system's own)
  principal text,
  -- sealed under the master key, which is not in this database; null once destroyed
  wrapped bytea,
  created_at timestamptz not null,
  destroyed_at timestamptz,
  constraint a_destroyed_key_is_gone check ((wrapped is null) = (destroyed_at is not null))
);
comment on table content_key is 'keys of the personal content of log entries, one per person; destroying one erases what it sealed';
create unique index one_live_key_per_principal on content_key (coalesce(principal, '')) where wrapped is not null;

create table log_content (
  entry text primary key references log_entry (id),
  key text not null references content_key (id),
  blob bytea not null
);
comment on table log_content is 'sealed personal content of entries; the leaf commits to its hash';

create table log_tile (
  path text primary key,
  bytes bytea not null
);
comment on table log_tile is 'tiles of the tree, as C2SP tlog-tiles lays them out';

create table log_checkpoint (
  size bigint primary key,
  note text not null,
  at timestamptz not null
);
comment on table log_checkpoint is 'signed checkpoints; the largest is the current one';

-- A row that says what is so must name the entry that made it so, written in the same transaction.
create function demand_entry() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and new is not distinct from old then return new; end if;
  if tg_op = 'UPDATE' and new.entry = old.entry
     or not exists (select from log_entry e where e.id = new.entry and e.written_in = pg_current_xact_id()) then
    raise exception 'a change of % needs its log entry in the same transaction', tg_table_name
      using errcode = 'integrity_constraint_violation', constraint = 'no_change_without_its_entry';
  end if;
  return new;
end $$;

create function refuse_deletion() returns trigger language plpgsql as $$
begin
  raise exception 'rows of % are kept', tg_table_name
    using errcode = 'integrity_constraint_violation', constraint = 'what_happened_is_kept';
end $$;

create table principal (
  id text primary key,
  handle text not null constraint a_handle_names_one_principal unique,
  name text not null,
  kind text not null constraint principal_kind_is_known check (kind in ('user', 'service', 'agent')),
  state text not null constraint principal_state_is_known check (state in ('invited', 'active', 'suspended')),
  groups text[] not null,
  created_at timestamptz not null,
  entry text not null references log_entry (id)
);
comment on table principal is 'who may act, with the groups of the local directory';
create trigger demand_entry before insert or update on principal for each row execute function demand_entry();
create trigger refuse_deletion before delete on principal for each row execute function refuse_deletion();

create table authenticator (
  id text primary key,
  principal text not null references principal (id),
  credential_id bytea not null constraint a_passkey_is_enrolled_once unique,
  public_key bytea not null,
  counter bigint not null constraint a_counter_never_goes_below_zero check (counter >= 0),
  transports text[] not null,
  name text not null,
  created_at timestamptz not null,
  last_used_at timestamptz,
  revoked_at timestamptz,
  entry text not null references log_entry (id)
);
comment on table authenticator is 'passkeys';
create index authenticator_of on authenticator (principal);
create trigger demand_entry before insert on authenticator for each row execute function demand_entry();

create table one_time_link (
  id text primary key,
  token_hash bytea not null constraint a_link_token_is_unique unique,
  kind text not null constraint link_kind_is_known check (kind in ('bootstrap', 'enrolment')),
  principal text references principal (id),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  revoked_at timestamptz,
  entry text not null references log_entry (id),
  constraint only_the_bootstrap_link_names_nobody check ((kind = 'bootstrap') = (principal is null))
);
comment on table one_time_link is 'one-time links to enrol a first passkey; only the hash of the token is kept';
create trigger demand_entry before insert on one_time_link for each row execute function demand_entry();

create table ceremony (
  id text primary key,
  kind text not null constraint ceremony_kind_is_known check (kind in ('enrolment', 'sign_in')),
  challenge bytea not null,
  -- for an enrolment: the link, and the handle and name it was begun with
  link text references one_time_link (id),
  principal text,
  handle text,
  name text,
  expires_at timestamptz not null,
  used_at timestamptz
);
comment on table ceremony is 'challenges of sign-ins and enrolments that wait for an answer';

create table web_session (
  id text primary key,
  token_hash bytea not null constraint a_cookie_token_is_unique unique,
  principal text not null references principal (id),
  created_at timestamptz not null,
  last_seen_at timestamptz not null,
  proven_at timestamptz not null,
  ended_at timestamptz
);
comment on table web_session is 'sign-ins at the console';
create index web_session_of on web_session (principal) where ended_at is null;

create table authorization_code (
  code_hash bytea primary key,
  principal text not null references principal (id),
  redirect_uri text not null,
  code_challenge text not null,
  dpop_jkt text not null,
  machine text not null,
  proven_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
comment on table authorization_code is 'codes that the console gave the command line tool to exchange (RFC 7636)';

create table machine_token (
  id text primary key,
  principal text not null references principal (id),
  machine text not null,
  dpop_jkt text not null,
  access_hash bytea not null constraint an_access_token_is_unique unique,
  access_expires_at timestamptz not null,
  refresh_hash bytea not null constraint a_refresh_token_is_unique unique,
  -- the refresh token before this one: seeing it again means that somebody has a copy
  previous_refresh_hash bytea,
  created_at timestamptz not null,
  proven_at timestamptz not null,
  ends_at timestamptz not null,
  ended_at timestamptz
);
comment on table machine_token is 'sign-ins of the command line tool, bound to a key of the machine (RFC 9449)';
create index machine_token_previous on machine_token (previous_refresh_hash);
create index machine_token_of on machine_token (principal) where ended_at is null;

create table seen_once (
  what text primary key,
  expires_at timestamptz not null
);
comment on table seen_once is 'identifiers that may be used once within their life: DPoP proofs';
create index seen_once_expiry on seen_once (expires_at);

create table proof (
  id text primary key,
  purpose text not null,
  principal text not null references principal (id),
  object jsonb not null,
  state text not null default 'offered' constraint proof_state_is_known check (state in ('offered', 'used')),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  authenticator text references authenticator (id),
  assertion jsonb,
  constraint a_used_proof_has_its_assertion
    check ((state = 'used') = (assertion is not null and authenticator is not null and used_at is not null)),
  constraint a_proof_lives_five_minutes check (expires_at <= created_at + interval '5 minutes'),
  constraint a_proof_is_used_in_time check (used_at < expires_at)
);
comment on table proof is 'canonical objects offered to be signed by a passkey, and the assertions over them';

create function refuse_reusing_a_proof() returns trigger language plpgsql as $$
begin
  if old.state = 'used' or (new.id, new.purpose, new.principal, new.object, new.created_at, new.expires_at)
     is distinct from (old.id, old.purpose, old.principal, old.object, old.created_at, old.expires_at) then
    raise exception 'a proof is used once' using errcode = 'integrity_constraint_violation', constraint = 'a_proof_is_used_once';
  end if;
  return new;
end $$;
create trigger a_proof_is_used_once before update on proof for each row execute function refuse_reusing_a_proof();

create table configuration (
  number bigint generated always as identity primary key,
  version text not null,
  hash text not null,
  files jsonb not null,
  applied_at timestamptz not null,
  applied_by text references principal (id),
  proof text references proof (id),
  entry text not null references log_entry (id)
);
comment on table configuration is 'applied configurations; the highest number is in force';
create trigger demand_entry before insert or update on configuration for each row execute function demand_entry();

create table plan (
  id text primary key,
  principal text not null references principal (id),
  files jsonb not null,
  hash text not null,
  base_version text,
  changes jsonb not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  applied_at timestamptz
);
comment on table plan is 'configurations that wait for the proof that applies them';

create table access_request (
  id text primary key,
  requester text not null references principal (id),
  acts_for text[] not null default '{}',
  role text not null,
  duration_ms bigint not null constraint a_request_has_a_duration check (duration_ms > 0),
  reason text not null constraint a_request_has_a_reason check (reason <> ''),
  ticket text,
  starts_at timestamptz,
  filed_at timestamptz not null,
  expires_at timestamptz not null,
  approvals_needed int not null constraint a_request_needs_an_approval check (approvals_needed >= 1),
  state text not null constraint request_state_is_known
    check (state in ('pending', 'approved', 'denied', 'withdrawn', 'expired')),
  decided_at timestamptz,
  denied_by text references principal (id),
  word text,
  entry text not null references log_entry (id),
  constraint a_decided_request_says_when check ((state = 'pending') = (decided_at is null)),
  constraint a_denial_says_who_and_why check ((state = 'denied') = (denied_by is not null and word is not null)),
  constraint nobody_denies_their_own check (denied_by <> requester and denied_by <> all (acts_for))
);
comment on table access_request is 'who asks for which role, for how long and why';
create index access_request_of on access_request (requester, filed_at);
create index access_request_pending on access_request (expires_at) where state = 'pending';
create index access_request_filed on access_request (filed_at, id);

create function refuse_wrong_request_step() returns trigger language plpgsql as $$
begin
  if old.state <> 'pending' then
    raise exception 'request % is % already', old.id, old.state
      using errcode = 'integrity_constraint_violation', constraint = 'a_request_is_decided_once';
  end if;
  if (new.id, new.requester, new.acts_for, new.role, new.duration_ms, new.reason, new.ticket, new.starts_at, new.filed_at, new.expires_at, new.approvals_needed)
     is distinct from (old.id, old.requester, old.acts_for, old.role, old.duration_ms, old.reason, old.ticket, old.starts_at, old.filed_at, old.expires_at, old.approvals_needed) then
    raise exception 'what was asked for does not change' using errcode = 'integrity_constraint_violation', constraint = 'what_was_asked_for_does_not_change';
  end if;
  if new.state = 'approved' and (select count(distinct approver) from approval where request = new.id) < new.approvals_needed then
    raise exception 'request % has too few approvals', new.id
      using errcode = 'integrity_constraint_violation', constraint = 'an_approved_request_has_its_approvals';
  end if;
  return new;
end $$;
create trigger a_request_takes_known_steps before update on access_request for each row execute function refuse_wrong_request_step();
create trigger demand_entry before insert or update on access_request for each row execute function demand_entry();
create trigger refuse_deletion before delete on access_request for each row execute function refuse_deletion();

create table approval (
  id text primary key,
  request text not null references access_request (id),
  approver text not null references principal (id),
  proof text not null constraint a_proof_approves_once unique references proof (id),
  at timestamptz not null,
  entry text not null references log_entry (id),
  constraint a_person_approves_a_request_once unique (request, approver)
);
comment on table approval is 'approvals by passkey';

create function refuse_own_approval() returns trigger language plpgsql as $$
declare asked access_request;
begin
  select * into asked from access_request where id = new.request for update;
  if new.approver = asked.requester or new.approver = any (asked.acts_for) then
    raise exception 'nobody approves their own request' using errcode = 'integrity_constraint_violation', constraint = 'nobody_approves_their_own';
  end if;
  if asked.state <> 'pending' or new.at >= asked.expires_at then
    raise exception 'request % can no longer be approved', asked.id using errcode = 'integrity_constraint_violation', constraint = 'only_a_pending_request_is_approved';
  end if;
  if not exists (select from proof p where p.id = new.proof and p.state = 'used' and p.purpose = 'approve_request'
                 and p.principal = new.approver and p.object ->> 'request' = new.request) then
    raise exception 'an approval needs a used proof of its approver over this request'
      using errcode = 'integrity_constraint_violation', constraint = 'an_approval_has_its_proof';
  end if;
  return new;
end $$;
create trigger nobody_approves_their_own before insert on approval for each row execute function refuse_own_approval();
create trigger demand_entry before insert or update on approval for each row execute function demand_entry();
create trigger refuse_deletion before update or delete on approval for each row execute function refuse_deletion();

create table access_grant (
  id text primary key,
  request text not null constraint a_request_becomes_one_grant unique references access_request (id),
  principal text not null references principal (id),
  role text not null,
  duration_ms bigint not null constraint a_grant_has_a_duration check (duration_ms > 0),
  not_before timestamptz not null,
  activate_by timestamptz not null,
  state text not null constraint grant_state_is_known check (state in ('approved', 'active', 'ended')),
  activated_at timestamptz,
  ends_at timestamptz,
  ended_at timestamptz,
  how text constraint grant_end_is_known check (how in ('expired', 'revoked', 'completed', 'handed_back')),
  ended_by text references principal (id),
  proof text references proof (id),
  entry text not null references log_entry (id),
  constraint an_active_grant_has_an_end check (state <> 'active' or (activated_at is not null and ends_at is not null and proof is not null)),
  constraint a_grant_lasts_as_approved check (ends_at <= activated_at + duration_ms * interval '1 millisecond'),
  constraint a_grant_is_activated_in_its_window check (activated_at >= not_before and activated_at < activate_by),
  constraint an_ended_grant_says_when_and_how check ((state = 'ended') = (ended_at is not null and how is not null))
);
comment on table access_grant is 'what approved requests became';
create index access_grant_of on access_grant (principal, state);
create index access_grant_live on access_grant (ends_at) where state = 'active';
create index access_grant_waiting on access_grant (activate_by) where state = 'approved';

create function refuse_wrong_grant_step() returns trigger language plpgsql as $$
begin
  if (old.state, new.state) not in (('approved', 'active'), ('approved', 'ended'), ('active', 'ended')) then
    raise exception 'grant % cannot go from % to %', old.id, old.state, new.state
      using errcode = 'integrity_constraint_violation', constraint = 'a_grant_takes_known_steps';
  end if;
  if (new.id, new.request, new.principal, new.role, new.duration_ms, new.not_before, new.activate_by)
     is distinct from (old.id, old.request, old.principal, old.role, old.duration_ms, old.not_before, old.activate_by) then
    raise exception 'what was granted does not change' using errcode = 'integrity_constraint_violation', constraint = 'what_was_granted_does_not_change';
  end if;
  if new.state = 'active' and not exists (select from proof p where p.id = new.proof and p.state = 'used'
      and p.purpose = 'activate_grant' and p.principal = new.principal and p.object ->> 'grant' = new.id) then
    raise exception 'activation needs a used proof of its principal over this grant'
      using errcode = 'integrity_constraint_violation', constraint = 'an_activation_has_its_proof';
  end if;
  return new;
end $$;
create trigger a_grant_takes_known_steps before update on access_grant for each row execute function refuse_wrong_grant_step();
create function refuse_grant_without_approval() returns trigger language plpgsql as $$
begin
  if not exists (select from access_request r where r.id = new.request and r.state = 'approved'
      and r.requester = new.principal and r.role = new.role and r.duration_ms = new.duration_ms) or new.state <> 'approved' then
    raise exception 'a grant comes from an approved request for the same' using errcode = 'integrity_constraint_violation', constraint = 'a_grant_comes_from_an_approved_request';
  end if;
  return new;
end $$;
create trigger a_grant_comes_from_an_approved_request before insert on access_grant for each row execute function refuse_grant_without_approval();
create trigger demand_entry before insert or update on access_grant for each row execute function demand_entry();
create trigger refuse_deletion before delete on access_grant for each row execute function refuse_deletion();

create table connection_credential (
  id text primary key,
  access_grant text not null references access_grant (id),
  user_name text not null constraint a_user_name_is_one_credential unique,
  verifier text not null,
  created_at timestamptz not null,
  entry text not null references log_entry (id)
);
comment on table connection_credential is 'login names for the gateway; the password is kept only as a SCRAM verifier';
create index connection_credential_of on connection_credential (access_grant);
create trigger demand_entry before insert on connection_credential for each row execute function demand_entry();

create table session (
  id text primary key,
  access_grant text not null references access_grant (id),
  credential text not null references connection_credential (id),
  principal text not null references principal (id),
  role text not null,
  gateway text not null,
  client_address text not null,
  application text,
  opened_at timestamptz not null,
  ended_at timestamptz,
  how text,
  word text,
  statements int not null default 0,
  entry text not null references log_entry (id),
  constraint an_ended_session_says_how check ((ended_at is null) = (how is null))
);
comment on table session is 'connections of clients to targets';
create index session_of on session (principal, opened_at);
create index session_under on session (access_grant);
create index session_open on session (gateway) where ended_at is null;
create trigger demand_entry before insert on session for each row execute function demand_entry();

create function refuse_reopening() returns trigger language plpgsql as $$
begin
  if old.ended_at is not null then
    raise exception 'session % has ended', old.id using errcode = 'integrity_constraint_violation', constraint = 'an_ended_session_stays_ended';
  end if;
  return new;
end $$;
create trigger an_ended_session_stays_ended before update on session for each row execute function refuse_reopening();
create trigger refuse_deletion before delete on session for each row execute function refuse_deletion();

create table gateway_journal (
  gateway text primary key,
  stored_up_to bigint not null
);
comment on table gateway_journal is 'how far each gateway''s journal is in the log, for exactly-once shipping';

create table sealed_setting (
  name text primary key,
  sealed bytea not null
);
comment on table sealed_setting is 'secrets of the installation, encrypted under the key file outside this database';

create index log_entry_session on log_entry ((subjects ->> 'session'), seq) where subjects ? 'session';
