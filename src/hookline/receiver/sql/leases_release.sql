-- Ends a lease at once, unless a later holder has it.
update hookline_leases set until_ms = 0
where source = :source and name = :name and token = :token
