-- Writes pairs whole, over what was there.
insert into hookline_sender_memberships (group_id, user_id, directory_id, is_member, event_ms, sequence)
select * from unnest /*columns*/ (
    cast(:group_id as text[]), cast(:user_id as text[]), cast(:directory_id as text[]), cast(:is_member as bigint[]),
    cast(:event_ms as bigint[]), cast(:sequence as bigint[])
)
on conflict (group_id, user_id) do update set
    is_member = excluded.is_member,
    event_ms = excluded.event_ms,
    sequence = excluded.sequence
