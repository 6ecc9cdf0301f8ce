-- Keeps a handler once: a new one starts at what is not applied yet, a known one goes on, with what it now listens to.
insert into hookline_handlers (name, kind, pattern, source, from_seq, registered_ms)
values (
    :name, :kind, :pattern, :source,
    case :kind
        when 'fact' then coalesce(
            (select min(seq) - 1 from hookline_inbox_queue),
            (select max(seq) from hookline_inbox),
            0
        )
        else coalesce((select max(seq) from hookline_changes), 0)
    end,
    :now_ms
)
on conflict (name) do update set kind = excluded.kind, pattern = excluded.pattern, source = excluded.source
