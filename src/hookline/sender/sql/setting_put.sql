-- Writes one setting over what was there.
insert into hookline_sender_settings (name, value)
values (:name, :value)
on conflict (name) do update set value = excluded.value
