-- Notes that a list could not be read; the last good copy stays.
insert into hookline_address_lists (url, failed_ms, error) values (:url, :now_ms, :error)
on conflict (url) do update set failed_ms = excluded.failed_ms, error = excluded.error
