-- Makes entries due that would wait longer than any wait there is: the clock stood ahead when they were kept, and went back.
update hookline_inbox_queue set due_ms = :now_ms where due_ms > :latest_ms
