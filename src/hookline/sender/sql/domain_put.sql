-- Writes domains whole, over what was there. One that another organization has fails the statement.
insert into hookline_sender_organization_domains
    (id, environment, organization_id, domain, state, verification_strategy, verification_prefix, verification_token,
    created_ms, updated_ms, event_ms, sequence)
values
    /*rows*/ (:id, :environment, :organization_id, :domain, :state, :verification_strategy, :verification_prefix,
        :verification_token, :created_ms, :updated_ms, :event_ms, :sequence)
on conflict (id) do update set
    state = excluded.state,
    verification_strategy = excluded.verification_strategy,
    verification_prefix = excluded.verification_prefix,
    verification_token = excluded.verification_token,
    updated_ms = excluded.updated_ms,
    event_ms = excluded.event_ms,
    sequence = excluded.sequence
