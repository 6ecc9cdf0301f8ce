-- What is kept of one published list of addresses.
select document, fetched_ms, failed_ms, error from hookline_address_lists where url = :url
