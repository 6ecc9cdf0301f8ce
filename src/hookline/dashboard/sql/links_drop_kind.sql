-- No link of a kind is good any more; nor one whose time is over.
delete from hookline_dashboard_links where kind = :kind or expires_ms <= :now_ms
