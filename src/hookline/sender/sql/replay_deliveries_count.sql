-- Counts a replay's deliveries by state.
select state, count(*) from hookline_sender_deliveries where replay_row = :replay_row group by state
