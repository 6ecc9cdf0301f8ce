-- Records attempts, each once.
insert into hookline_sender_attempts
    (delivery_row, number, kind, outcome, reason, status, started_ms, duration_ms, evidence)
values
    /*rows*/ (:delivery_row, :number, :kind, :outcome, :reason, :status, :started_ms, :duration_ms, :evidence)
