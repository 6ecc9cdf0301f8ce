-- Records attempts, each once: what was recorded first stands.
insert into hookline_sender_attempts
    (delivery_row, number, kind, outcome, reason, status, started_ms, duration_ms, evidence)
values
    /*rows*/ (:delivery_row, :number, :kind, :outcome, :reason, :status, :started_ms, :duration_ms, :evidence)
on conflict (delivery_row, number) do nothing
