-- Tells whether a line of the audit trail is the environment's: a place in its list.
select row_id from hookline_sender_audit where row_id = :row_id and environment = :environment
