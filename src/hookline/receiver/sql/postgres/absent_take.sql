-- Keeps objects that are not there yet to this transaction until its commit, to add them: whoever relied on their absence
-- has finished by then, and whoever asks for them waits. In order, so that two do not wait for each other.
select pg_advisory_xact_lock(hashtextextended(k.key, 5021706183927116801))
from (select value as key from json_array_elements_text(cast(:keys as json)) w (value) order by value) k
