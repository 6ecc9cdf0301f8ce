-- Waits for every transaction that joins observations (standing.sql), and keeps others from it until this one's commit.
lock table hookline_floors in exclusive mode
