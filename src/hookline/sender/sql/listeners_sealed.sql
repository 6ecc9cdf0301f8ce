-- Reads every listener's secret: a new encryption key rewrites them all.
select row_id, secret_enc from hookline_sender_listeners order by row_id
