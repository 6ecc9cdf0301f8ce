-- Adds what was published to the hours of types.
insert into hookline_sender_type_hours (environment, hour_ms, event_type, published)
values /*rows*/ (:environment, :hour_ms, :event_type, :published)
on conflict (environment, hour_ms, event_type) do update set
    published = hookline_sender_type_hours.published + excluded.published
