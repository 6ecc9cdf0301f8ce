# One process with threads: the queue of the jobs is in its memory.
bind "tcp://#{ENV.fetch("HOST", "127.0.0.1")}:#{ENV.fetch("PORT", "8080")}"
threads 1, 5
environment "production"
