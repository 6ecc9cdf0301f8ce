-- Writes down what is to be asked: once for each object, with all its reasons. What an answer has to be later than never
-- falls: another transaction may have raised it since this one looked.
insert into hookline_refetches (
    source, resource, object_id, reasons, told_by, after_us, noticed_ms, due_ms, tries, error, lower_us,
    lower_read_us
)
values /*rows*/ (
    :source, :resource, :object_id, :reasons, :told_by, :after_us, :noticed_ms, :due_ms, :tries, :error,
    :lower_us, :lower_read_us
)
on conflict (source, resource, object_id) do update
set reasons = excluded.reasons, told_by = excluded.told_by, due_ms = excluded.due_ms,
    after_us = case
        when excluded.after_us > hookline_refetches.after_us then excluded.after_us else hookline_refetches.after_us
    end,
    tries = excluded.tries, error = excluded.error, lower_us = excluded.lower_us,
    lower_read_us = excluded.lower_read_us
