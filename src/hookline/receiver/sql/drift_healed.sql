-- Settles every open item of a source: a whole pass has put all of it right.
update hookline_drift set state = 'healed', note = :note, settled_ms = :now_ms
where source = :source and state = 'open'
