-- Notes objects that a release has met; gives those it had not met before.
insert into hookline_sender_release_objects (endpoint_row, version, object_sha256)
select * from unnest /*columns*/ (
    cast(:endpoint_row as bigint[]), cast(:version as bigint[]), cast(:object_sha256 as text[])
)
on conflict do nothing
returning object_sha256
