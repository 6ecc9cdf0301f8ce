-- Keeps a handler once: a new one starts at now, a known one goes on where it is, with what it now listens to.
insert into hookline_handlers (name, kind, pattern, from_seq, registered_ms)
values (
    :name, :kind, :pattern,
    case :kind
        when 'fact' then coalesce((select max(seq) from hookline_inbox), 0)
        else coalesce((select max(seq) from hookline_changes), 0)
    end,
    :now_ms
)
on conflict (name) do update set kind = excluded.kind, pattern = excluded.pattern
