-- Lets paused handlers be tried now that would be tried later than ever: the clock stood ahead when that was set, and went back.
update hookline_handlers set probe_ms = :now_ms where probe_ms > :longest_pause_ms
