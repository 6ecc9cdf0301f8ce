-- How long each of these has to wait.
select subject, failures, wait_until_ms from hookline_dashboard_failures
where subject in (select value from json_each(:subjects))
