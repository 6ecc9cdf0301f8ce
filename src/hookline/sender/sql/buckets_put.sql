-- Writes token buckets as they are now; the caller holds their locks.
insert into hookline_sender_buckets (endpoint_row, full_us)
values /*rows*/ (:endpoint_row, :full_us)
on conflict (endpoint_row) do update set full_us = excluded.full_us
