-- Where a stretch of so many entries ends; nothing where the inbox does.
select {place} from {tables} where {filters} and {place} < :before_seq order by {place} desc limit 1 offset :offset
