-- What waits for a second look: statements and acts of administration that are held, what was obtained for them, what that
-- goes on covering, and the refusals that a request can refer to.

create table hold (
  id text primary key,
  subject text not null constraint hold_subject_is_known check (subject in ('statement', 'act')),
  state text not null constraint hold_state_is_known
    check (state in ('waiting', 'cured', 'released', 'denied', 'withdrawn', 'expired', 'ended')),
  requester text not null references principal (id),
  acts_for text[] not null default '{}',
  access_grant text references access_grant (id),
  session text references session (id),
  role text,
  client_address text,
  -- of a statement: over the protocol's bytes of text and parameters; of an act: over its canonical content
  digest text not null,
  -- as it is shown and signed: text, parameters, needs; or the act
  held jsonb not null,
  demands jsonb not null,
  asked_by text[] not null,
  policy_version text not null,
  preview jsonb,
  reason text,
  opened_at timestamptz not null,
  expires_at timestamptz not null,
  settled_at timestamptz,
  settled_by text references principal (id),
  word text,
  entry text not null references log_entry (id),
  constraint a_held_statement_has_its_session
    check ((subject = 'statement') = (session is not null and access_grant is not null and role is not null)),
  constraint a_hold_ends check (expires_at > opened_at),
  constraint a_settled_hold_says_when check ((state in ('waiting', 'cured')) = (settled_at is null)),
  constraint a_denied_hold_says_who_and_why check (state <> 'denied' or (settled_by is not null and word is not null)),
  constraint nobody_denies_their_own_hold check (state <> 'denied' or (settled_by <> requester and settled_by <> all (acts_for)))
);
comment on table hold is 'statements and acts that wait for what policy asks for';
create index hold_live on hold (expires_at) where state in ('waiting', 'cured');
create index hold_of on hold (requester, id);
create index hold_in on hold (session) where state in ('waiting', 'cured');

create table hold_signature (
  hold text not null references hold (id),
  principal text not null references principal (id),
  kind text not null constraint signature_kind_is_known check (kind in ('proof', 'approval')),
  proof text not null constraint a_proof_signs_one_hold unique references proof (id),
  rows_at_most bigint constraint rows_are_counted_from_zero check (rows_at_most >= 0),
  valid_ms bigint constraint a_validity_is_positive check (valid_ms > 0),
  saw_preview boolean not null,
  at timestamptz not null,
  entry text not null references log_entry (id),
  constraint a_person_signs_a_hold_once primary key (hold, principal, kind)
);
comment on table hold_signature is 'passkeys over what is held: of who asked for it, and of who approved it';
create trigger demand_entry before insert or update on hold_signature for each row execute function demand_entry();
create trigger refuse_deletion before update or delete on hold_signature for each row execute function refuse_deletion();

create function refuse_wrong_signature() returns trigger language plpgsql as $$
declare on_hold hold;
begin
  select * into on_hold from hold where id = new.hold for update;
  if new.kind = 'approval' and (new.principal = on_hold.requester or new.principal = any (on_hold.acts_for)) then
    raise exception 'nobody approves what they ask for' using errcode = 'integrity_constraint_violation', constraint = 'nobody_approves_their_own';
  end if;
  if new.kind = 'proof' and new.principal <> on_hold.requester then
    raise exception 'a statement is proven by who runs it' using errcode = 'integrity_constraint_violation', constraint = 'a_statement_is_proven_by_who_runs_it';
  end if;
  if on_hold.state <> 'waiting' or new.at >= on_hold.expires_at then
    raise exception 'hold % waits no more', on_hold.id using errcode = 'integrity_constraint_violation', constraint = 'only_what_waits_is_signed';
  end if;
  if not exists (select from proof p where p.id = new.proof and p.state = 'used' and p.principal = new.principal
      and p.object ->> 'hold' = new.hold
      and p.purpose = case when new.kind = 'proof' then 'do_action' when on_hold.subject = 'act' then 'approve_act' else 'approve_action' end
      and coalesce(p.object ->> 'digest', p.object ->> 'actHash') = on_hold.digest) then
    raise exception 'a signature needs a used proof over this hold'
      using errcode = 'integrity_constraint_violation', constraint = 'a_signature_has_its_proof';
  end if;
  return new;
end $$;
create trigger a_signature_is_over_its_hold before insert on hold_signature for each row execute function refuse_wrong_signature();

create function refuse_wrong_hold_step() returns trigger language plpgsql as $$
begin
  if old.state not in ('waiting', 'cured') or (old.state = 'cured' and new.state = 'waiting') or (old.state = 'waiting' and new.state = 'released') then
    raise exception 'hold % cannot go from % to %', old.id, old.state, new.state
      using errcode = 'integrity_constraint_violation', constraint = 'a_hold_takes_known_steps';
  end if;
  if (new.id, new.subject, new.requester, new.acts_for, new.access_grant, new.session, new.role, new.client_address, new.digest, new.held, new.demands, new.asked_by, new.opened_at, new.expires_at)
     is distinct from (old.id, old.subject, old.requester, old.acts_for, old.access_grant, old.session, old.role, old.client_address, old.digest, old.held, old.demands, old.asked_by, old.opened_at, old.expires_at)
     or (old.preview is not null and new.preview is distinct from old.preview)
     or (old.reason is not null and new.reason is distinct from old.reason) then
    raise exception 'what is held does not change' using errcode = 'integrity_constraint_violation', constraint = 'what_is_held_does_not_change';
  end if;
  return new;
end $$;
create trigger a_hold_takes_known_steps before update on hold for each row execute function refuse_wrong_hold_step();
create trigger demand_entry before insert or update on hold for each row execute function demand_entry();
create trigger refuse_deletion before delete on hold for each row execute function refuse_deletion();

create table cover (
  id text primary key,
  access_grant text not null references access_grant (id),
  hold text not null references hold (id),
  policy text not null,
  -- another configuration may mean something else by the same policy: it covers under this one alone
  policy_version text not null,
  kind text not null constraint cover_kind_is_known check (kind in ('proof', 'approval')),
  reach text not null constraint cover_reach_is_known check (reach in ('statement', 'tables', 'grant')),
  -- hash of what it reaches: the statement, the actions on their objects, or nothing more than the grant
  scope text not null,
  client_address text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  uses bigint not null default 0,
  ended_at timestamptz,
  ended_by text references principal (id),
  word text,
  entry text not null references log_entry (id),
  constraint a_cover_ends check (expires_at > created_at)
);
comment on table cover is 'what a proof or an approval goes on covering for a while';
create index cover_under on cover (access_grant) where ended_at is null;
create trigger demand_entry before insert on cover for each row execute function demand_entry();
create trigger demand_entry_at_the_end before update on cover
  for each row when (old.ended_at is distinct from new.ended_at) execute function demand_entry();
create trigger refuse_deletion before delete on cover for each row execute function refuse_deletion();

create function refuse_another_cover() returns trigger language plpgsql as $$
begin
  if old.ended_at is not null or new.uses < old.uses
     or (new.id, new.access_grant, new.hold, new.policy, new.policy_version, new.kind, new.reach, new.scope, new.client_address, new.created_at, new.expires_at)
     is distinct from (old.id, old.access_grant, old.hold, old.policy, old.policy_version, old.kind, old.reach, old.scope, old.client_address, old.created_at, old.expires_at) then
    raise exception 'a cover stays what was signed' using errcode = 'integrity_constraint_violation', constraint = 'a_cover_stays_what_was_signed';
  end if;
  return new;
end $$;
create trigger a_cover_stays_what_was_signed before update on cover for each row execute function refuse_another_cover();

create table denial (
  id text primary key,
  session text not null references session (id),
  access_grant text not null references access_grant (id),
  principal text not null references principal (id),
  role text not null,
  digest text,
  -- text, parameters, and the roles that would have given it
  held jsonb not null,
  at timestamptz not null,
  entry text not null references log_entry (id)
);
comment on table denial is 'refused statements, so that a request can refer to one';
create trigger demand_entry before insert on denial for each row execute function demand_entry();
create trigger refuse_deletion before update or delete on denial for each row execute function refuse_deletion();

-- A request out of a denial; with `once` for that statement only.
alter table access_request add column denial text references denial (id), add column once boolean not null default false,
  add constraint once_is_for_a_denied_statement check (not once or denial is not null);
-- Of a grant for one statement: which, and the moment when it was let through.
alter table access_grant add column only_digest text, add column used_at timestamptz,
  add constraint only_a_grant_for_one_statement_is_used_up check (used_at is null or only_digest is not null);

create function refuse_another_request() returns trigger language plpgsql as $$
begin
  if (new.denial, new.once) is distinct from (old.denial, old.once) then
    raise exception 'what was asked for does not change' using errcode = 'integrity_constraint_violation', constraint = 'what_was_asked_for_does_not_change';
  end if;
  return new;
end $$;
create trigger what_was_asked_for_does_not_change before update on access_request for each row execute function refuse_another_request();

-- That a grant for one statement is used up is no step of its own: it is active until the run has ended.
create or replace function refuse_wrong_grant_step() returns trigger language plpgsql as $$
begin
  if new.only_digest is distinct from old.only_digest or (old.used_at is not null and new.used_at is distinct from old.used_at) then
    raise exception 'what was granted does not change' using errcode = 'integrity_constraint_violation', constraint = 'what_was_granted_does_not_change';
  end if;
  if (old.state, new.state) not in (('approved', 'active'), ('approved', 'ended'), ('active', 'ended'))
     and not (old.state = 'active' and new.state = 'active' and old.used_at is null and new.used_at is not null) then
    raise exception 'grant % cannot go from % to %', old.id, old.state, new.state
      using errcode = 'integrity_constraint_violation', constraint = 'a_grant_takes_known_steps';
  end if;
  if (new.id, new.request, new.principal, new.role, new.duration_ms, new.not_before, new.activate_by)
     is distinct from (old.id, old.request, old.principal, old.role, old.duration_ms, old.not_before, old.activate_by)
     or (old.state = 'active' and (new.activated_at, new.ends_at) is distinct from (old.activated_at, old.ends_at)) then
    raise exception 'what was granted does not change' using errcode = 'integrity_constraint_violation', constraint = 'what_was_granted_does_not_change';
  end if;
  if old.state = 'approved' and new.state = 'active' and not exists (select from proof p where p.id = new.proof and p.state = 'used'
      and p.purpose = 'activate_grant' and p.principal = new.principal and p.object ->> 'grant' = new.id) then
    raise exception 'activation needs a used proof of its principal over this grant'
      using errcode = 'integrity_constraint_violation', constraint = 'an_activation_has_its_proof';
  end if;
  return new;
end $$;

create or replace function refuse_grant_without_approval() returns trigger language plpgsql as $$
begin
  if not exists (select from access_request r left join denial d on d.id = r.denial
      where r.id = new.request and r.state = 'approved'
      and r.requester = new.principal and r.role = new.role and r.duration_ms = new.duration_ms
      and new.only_digest is not distinct from case when r.once then d.digest end) or new.state <> 'approved' then
    raise exception 'a grant comes from an approved request for the same' using errcode = 'integrity_constraint_violation', constraint = 'a_grant_comes_from_an_approved_request';
  end if;
  return new;
end $$;

-- The key behind a sign-in and behind a connection secret: policy may ask since when it is known.
create table device (
  principal text not null references principal (id),
  -- thumbprint of the machine's key (RFC 9449)
  jkt text not null,
  first_seen_at timestamptz not null,
  constraint a_device_is_known_once_to_a_person primary key (principal, jkt)
);
comment on table device is 'since when a person has signed in with a machine''s key';
insert into device select principal, dpop_jkt, min(created_at) from machine_token group by principal, dpop_jkt;
alter table web_session add column authenticator text references authenticator (id);
alter table connection_credential add column issued_from text, add column jkt text, add column authenticator text references authenticator (id);

alter table session add column tls boolean not null default true;

-- An act that was held waits for its second signature under its hold.
alter table proof add column hold text references hold (id);
create index proof_under_grant on proof ((object ->> 'grant'), used_at) where state = 'used' and object ? 'grant';

