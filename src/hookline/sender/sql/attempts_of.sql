-- Reads a delivery's attempts in the order they were made.
select delivery_row, number, kind, outcome, reason, status, started_ms, duration_ms, evidence
from hookline_sender_attempts
where delivery_row = :delivery_row
order by number
