-- Notes objects that a release has met; gives those it had not met before.
insert into hookline_sender_release_objects (endpoint_row, version, object_sha256)
values /*rows*/ (:endpoint_row, :version, :object_sha256)
on conflict do nothing
returning object_sha256
