-- Forgets objects that releases of an endpoint have met, so many at a time.
delete from hookline_sender_release_objects
where (endpoint_row, version, object_sha256) in (
    select o.endpoint_row, o.version, o.object_sha256
    from hookline_sender_release_objects o
    where o.endpoint_row = :endpoint_row
    limit :limit
)
