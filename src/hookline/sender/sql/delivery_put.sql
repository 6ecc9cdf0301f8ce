-- Adds deliveries; a second published delivery of one event to one endpoint fails the whole statement.
insert into hookline_sender_deliveries
    (id, environment, event_row, endpoint_row, origin, state, due_ms, reason, created_ms, updated_ms)
values
    /*rows*/ (:id, :environment, :event_row, :endpoint_row, :origin, :state, :due_ms, :reason, :now_ms, :now_ms)
