-- Somebody signed in: nothing is held against them.
delete from hookline_dashboard_failures where subject in (select value from json_each(:subjects))
