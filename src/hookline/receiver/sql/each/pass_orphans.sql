-- The next ids that living children name as what they are in, none of them heard of since the floor, and of which nothing
-- was ever heard.
select c.{column} from {child} c
where c.source = :source and {within} and c.{column} > :after and c.deleted_at is null
    and not exists (select 1 from {table} p where p.source = c.source and p.id = c.{column})
group by c.{column} having max(c.{proof}) < :floor_us
order by c.{column} limit :limit
