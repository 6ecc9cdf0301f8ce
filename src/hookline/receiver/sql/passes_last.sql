-- When whole passes that put things right began and, of those that came to their end, ended last.
select max(created_ms), max(case when state = 'completed' then finished_ms end)
from hookline_passes where source = :source and mode = 'apply' and directory_id is null
