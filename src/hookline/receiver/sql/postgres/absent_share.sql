-- Keeps objects that are not there yet from being added before this transaction's commit, which relies on that; others
-- may rely on it too. In order, so that two do not wait for each other.
select pg_advisory_xact_lock_shared(hashtextextended(k.key, 5021706183927116801))
from (select value as key from json_array_elements_text(cast(:keys as json)) w (value) order by value) k
