-- Replaces rows that were read in this transaction; none is new.
insert into hookline_directory_memberships (
    source, group_id, user_id, directory_id, add_us, add_event_id, remove_us, remove_event_id, flags,
    announced_live, deleted_at
)
values /*rows*/ (
    :source, :group_id, :user_id, :directory_id, :add_us, :add_event_id, :remove_us,
    :remove_event_id, :flags, :announced_live, :deleted_at
)
on conflict (source, group_id, user_id) do update set
    directory_id = excluded.directory_id,
    add_us = excluded.add_us,
    add_event_id = excluded.add_event_id,
    remove_us = excluded.remove_us,
    remove_event_id = excluded.remove_event_id,
    flags = excluded.flags,
    announced_live = excluded.announced_live,
    deleted_at = excluded.deleted_at
