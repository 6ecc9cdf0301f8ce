-- What happened in an environment, by steps of time.
select (minute_ms / :step_ms) * :step_ms, sum(published), sum(succeeded), sum(failed), sum(delivered), sum(given_up),
    sum(b0), sum(b1), sum(b2), sum(b3), sum(b4), sum(b5), sum(b6), sum(b7), sum(b8), sum(b9), sum(b10), sum(b11)
from hookline_sender_minutes
where environment = :environment and minute_ms >= :since_ms and minute_ms < :until_ms
group by 1
order by 1
