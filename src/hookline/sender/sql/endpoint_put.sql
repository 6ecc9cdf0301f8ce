-- Adds an endpoint; gives no row where the environment already has a live endpoint with this URL.
insert into hookline_sender_endpoints
    (id, environment, url, status, description, secret_enc, timeout_ms, rate_limit_per_min, headers_enc,
     standard_webhooks, schedule, version, created_ms, updated_ms)
values (:id, :environment, :url, 'enabled', :description, :secret_enc, :timeout_ms, :rate_limit_per_min, :headers_enc,
     :standard_webhooks, :schedule, 1, :now_ms, :now_ms)
on conflict (environment, url) where deleted_ms is null do nothing
returning row_id
