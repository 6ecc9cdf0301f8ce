-- Takes one entry out of the queue; none comes back if somebody else was faster.
delete from hookline_inbox_queue where seq = :seq returning seq
