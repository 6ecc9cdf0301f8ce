-- Writes a listener's secret anew; what it says is the same.
update hookline_sender_listeners set secret_enc = :secret_enc where row_id = :row_id
