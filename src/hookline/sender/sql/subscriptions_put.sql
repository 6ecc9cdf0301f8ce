-- Adds what an endpoint asks for; a name it already has is left alone.
insert into hookline_sender_subscriptions (event_type, endpoint_row)
values /*rows*/ (:event_type, :endpoint_row)
on conflict do nothing
