-- Adds the delivery of a test event with what its one attempt came to; no loop ever takes it.
insert into hookline_sender_deliveries
    (id, environment, event_row, endpoint_row, origin, state, attempt, slots_used, first_ms, reason, created_ms, updated_ms)
values
    (:id, :environment, :event_row, :endpoint_row, 'test', :state, :attempt, 1, :first_ms, :reason, :first_ms, :now_ms)
returning row_id
