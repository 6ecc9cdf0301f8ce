-- Writes down what is to be asked: once for each object, with all its reasons.
insert into hookline_refetches (
    source, resource, object_id, reasons, told_by, after_us, noticed_ms, due_ms, tries, error, lower_us,
    lower_read_us
)
values /*rows*/ (
    :source, :resource, :object_id, :reasons, :told_by, :after_us, :noticed_ms, :due_ms, :tries, :error,
    :lower_us, :lower_read_us
)
on conflict (source, resource, object_id) do update
set reasons = excluded.reasons, told_by = excluded.told_by, after_us = excluded.after_us, due_ms = excluded.due_ms,
    tries = excluded.tries, error = excluded.error, lower_us = excluded.lower_us,
    lower_read_us = excluded.lower_read_us
