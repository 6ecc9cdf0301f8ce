-- Adds events; their ids are new by construction, so a repeated id fails the whole statement.
insert into hookline_sender_events
    (id, environment, type, organization_id, body, created_ms, published_ms, origin, traceparent,
        object_sequence, object_id)
values
    /*rows*/ (:id, :environment, :type, :organization_id, :body, :created_ms, :now_ms, :origin, :traceparent,
        :object_sequence, :object_id)
returning row_id, id
