-- Notes where reading a source's feed begins, once.
insert into hookline_tails (source, state, cursor_us) values (:source, 'reading', :cursor_us)
on conflict (source) do nothing
