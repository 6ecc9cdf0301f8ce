-- Forgets the listings of passes.
delete from hookline_pass_scopes where pass_id in (select cast(value as integer) from json_each(:pass_ids))
