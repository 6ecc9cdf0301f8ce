-- Names the pass that stands in for lost events.
update hookline_tails set pass_id = :pass_id where source = :source
