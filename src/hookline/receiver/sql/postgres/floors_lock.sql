-- Waits for every transaction that has read floors, and keeps others from reading them until this one's commit.
lock table hookline_floors in exclusive mode
