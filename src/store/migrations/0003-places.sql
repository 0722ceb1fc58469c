-- An entry is written once and then never again: where it stands in the tree is said beside it. Updating the entry wrote all of
-- it, and all its indexes, a second time.

create table log_place (
  leaf_index bigint constraint a_place_is_taken_once primary key,
  seq bigint not null constraint an_entry_has_one_place unique
);
comment on table log_place is 'where the entries stand in the tree';

create table log_waiting (
  seq bigint primary key
);
comment on table log_waiting is 'entries that have no place in the tree yet';

insert into log_place select leaf_index, seq from log_entry where leaf_index is not null;
insert into log_waiting select seq from log_entry where leaf_index is null;
alter table log_entry drop column leaf_index;

create or replace function refuse_rewriting_the_log() returns trigger language plpgsql as $$
begin
  raise exception 'the log is append-only' using errcode = 'integrity_constraint_violation', constraint = 'the_log_is_append_only';
end $$;
create trigger a_place_is_kept before update or delete on log_place
  for each row execute function refuse_rewriting_the_log();
create trigger places_are_kept before truncate on log_place
  for each statement execute function refuse_rewriting_the_log();

-- Nobody writes an entry past the sequencer.
create function await_place() returns trigger language plpgsql as $$
begin
  insert into log_waiting select seq from fresh;
  return null;
end $$;
create trigger an_entry_waits_for_its_place after insert on log_entry
  referencing new table as fresh for each statement execute function await_place();

-- What foreign keys said, asked once for all rows of a statement: they ask for each row, and lock what it points to, which
-- is half the cost of a content. Planned anew each time, since a plan made for a small log is wrong for a large one. What is pointed
-- to doesn't go away: entries are never deleted, and from now on keys aren't either.
create function refuse_stray_places() returns trigger language plpgsql set plan_cache_mode = force_custom_plan as $$
begin
  if exists (select from fresh where not exists (select from log_entry e where e.seq = fresh.seq)) then
    raise exception 'a place is that of an entry' using errcode = 'foreign_key_violation', constraint = 'a_place_is_of_an_entry';
  end if;
  return null;
end $$;
create trigger a_place_is_of_an_entry after insert on log_place
  referencing new table as fresh for each statement execute function refuse_stray_places();

create function refuse_stray_contents() returns trigger language plpgsql set plan_cache_mode = force_custom_plan as $$
begin
  if exists (select from fresh where not exists (select from log_entry e where e.id = fresh.entry)) then
    raise exception 'content is that of an entry' using errcode = 'foreign_key_violation', constraint = 'content_is_of_an_entry';
  end if;
  if exists (select from fresh where not exists (select from content_key k where k.id = fresh.key)) then
    raise exception 'content is sealed by a known key' using errcode = 'foreign_key_violation', constraint = 'content_names_its_key';
  end if;
  return null;
end $$;
create trigger content_is_of_an_entry after insert on log_content
  referencing new table as fresh for each statement execute function refuse_stray_contents();
alter table log_content drop constraint log_content_entry_fkey, drop constraint log_content_key_fkey;

create function refuse_another_content() returns trigger language plpgsql as $$
begin
  raise exception 'content stays what was sealed'
    using errcode = 'integrity_constraint_violation', constraint = 'content_stays_what_was_sealed';
end $$;
create trigger content_stays_what_was_sealed before update on log_content
  for each row execute function refuse_another_content();
create trigger a_key_keeps_its_name before update on content_key
  for each row when (old.id is distinct from new.id) execute function refuse_another_content();
create trigger refuse_deletion before delete on content_key for each row execute function refuse_deletion();
