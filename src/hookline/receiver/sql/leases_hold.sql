-- Renews a lease that is still its holder's; no row where a later holder has taken it.
update hookline_leases set until_ms = :until_ms
where source = :source and name = :name and token = :token
