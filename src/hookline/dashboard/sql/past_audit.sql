-- Removes lines of the audit trail from before a time, so many at a time.
delete from hookline_dashboard_audit
where row_id in (
    select a.row_id from hookline_dashboard_audit a where a.at_ms < :cutoff_ms order by a.at_ms limit :limit
)
