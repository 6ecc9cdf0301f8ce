-- How many passes of a source are running.
select count(*) from hookline_passes where source = :source and state = 'running'
