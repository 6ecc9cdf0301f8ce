-- Reads how often these were tried in vain, and until when none is taken.
select tried, failures, last_ms, until_ms
from hookline_dashboard_sign_ins
where tried in (select value from json_each(:tried))
