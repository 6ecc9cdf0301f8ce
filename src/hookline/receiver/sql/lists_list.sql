-- Every published list of addresses that was ever read here.
select url, document, fetched_ms, failed_ms, error from hookline_address_lists order by url
