-- Forgets tries that count no longer.
delete from hookline_dashboard_sign_ins where last_ms < :cutoff_ms and until_ms < :now_ms
