-- When the newest entries were signed, and when they arrived; those that `hookline doctor` posted are left out.
select signed_ms, received_ms from hookline_inbox
where signed_ms is not null and (type is null or type <> 'hookline.probe')
order by seq desc limit :limit
