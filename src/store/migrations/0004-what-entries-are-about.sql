-- The log is read by grant, request, principal or session, in the order of its entries. An index for each of these gives that
-- order and is written at the end of a run of its own. The one index of everything said of an entry gave none, and held
-- the number of each statement as well, which nobody asks for.
create index log_entry_grant on log_entry ((subjects ->> 'grant'), seq) where subjects ? 'grant';
create index log_entry_request on log_entry ((subjects ->> 'request'), seq) where subjects ? 'request';
create index log_entry_principal on log_entry ((subjects ->> 'principal'), seq) where subjects ? 'principal';
drop index log_entry_subjects;
