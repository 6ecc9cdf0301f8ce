-- Writes pairs whole, over what was there.
insert into hookline_sender_memberships (group_id, user_id, directory_id, is_member, event_ms, sequence)
values /*rows*/ (:group_id, :user_id, :directory_id, :is_member, :event_ms, :sequence)
on conflict (group_id, user_id) do update set
    is_member = excluded.is_member,
    event_ms = excluded.event_ms,
    sequence = excluded.sequence
