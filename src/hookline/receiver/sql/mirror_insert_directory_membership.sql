-- Adds whole rows; one that somebody else added meanwhile fails the statement, and the batch is rerun.
insert into hookline_directory_memberships (
    source, group_id, user_id, directory_id, add_us, add_event_id, remove_us, remove_event_id, flags,
    announced_live, deleted_at
)
values /*rows*/ (
    :source, :group_id, :user_id, :directory_id, :add_us, :add_event_id, :remove_us,
    :remove_event_id, :flags, :announced_live, :deleted_at
)
