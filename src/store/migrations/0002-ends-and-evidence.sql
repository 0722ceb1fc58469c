-- What 0001 left to the code: the end of a session and of a passkey are changes like any other, and what proves
-- something isn't deleted. (That a row is used, seen or counted is no change of what is so.)

create trigger demand_entry_at_the_end before update on session
  for each row when (old.ended_at is distinct from new.ended_at) execute function demand_entry();

create trigger demand_entry_at_the_end before update on authenticator
  for each row when (old.revoked_at is distinct from new.revoked_at) execute function demand_entry();

create function refuse_another_passkey() returns trigger language plpgsql as $$
begin
  if (new.id, new.principal, new.credential_id, new.public_key, new.created_at)
     is distinct from (old.id, old.principal, old.credential_id, old.public_key, old.created_at) then
    raise exception 'passkey % is enrolled as it is', old.id
      using errcode = 'integrity_constraint_violation', constraint = 'a_passkey_stays_what_was_enrolled';
  end if;
  return new;
end $$;
create trigger a_passkey_stays_what_was_enrolled before update on authenticator
  for each row execute function refuse_another_passkey();

create trigger refuse_deletion before delete on authenticator for each row execute function refuse_deletion();
create trigger refuse_deletion before delete on configuration for each row execute function refuse_deletion();
create trigger refuse_deletion before delete on connection_credential for each row execute function refuse_deletion();
create trigger refuse_deletion before delete on one_time_link for each row execute function refuse_deletion();
create trigger refuse_deletion before delete on proof
  for each row when (old.state = 'used') execute function refuse_deletion();
