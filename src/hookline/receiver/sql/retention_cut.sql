-- Puts what is left of a body in its place.
update hookline_inbox set body = :body, redacted = 'people' where seq = :seq
