-- Adds deliveries that a replay makes, or a person who sends an event again (replay_row null).
insert into hookline_sender_deliveries
    (id, environment, event_row, endpoint_row, origin, state, due_ms, reason, replay_row, created_ms, updated_ms)
values
    /*rows*/ (:id, :environment, :event_row, :endpoint_row, 'replay', :state, :due_ms, :reason, :replay_row, :now_ms, :now_ms)
