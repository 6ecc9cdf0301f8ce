-- The next keys within a scope of what lives on nothing as late as a floor, without what a death above it hides for good.
select m.{key} from {table} m
where m.source = :source{scope} and m.{key} > :after
    and m.{proof}_us < :floor_us
    and (m.{proof}_us, m.{proof}_event_id) > (m.{death}_us, m.{death}_event_id){above}
order by m.{key} limit :limit
