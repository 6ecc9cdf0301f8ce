-- Keeps a list as it was read just now; what went wrong before is over.
insert into hookline_address_lists (url, document, fetched_ms) values (:url, :document, :now_ms)
on conflict (url) do update set
    document = excluded.document, fetched_ms = excluded.fetched_ms, failed_ms = null, error = null
