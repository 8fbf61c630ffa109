-- Takes a sale that the ledger has archived out of Redis: the record first, with a mark of one hour that tells the
-- pods to keep what they have of it; the other keys by and by. Until all are gone `dropping` says so.
-- ARGV: run_id, 1 if more keys are left after this call, keys to remove ...
-- Returns ok | back (it was applied again meanwhile, with a later end)
local v = get('closes_ms', 'policy')
if v[1] and NOW < tonumber(v[1]) and v[2] ~= 'Closed' then return { 'back' } end

redis.call('DEL', SALE)
if #ARGV > 2 then redis.call('UNLINK', unpack(ARGV, 3)) end
redis.call('SET', P .. 'dropped', 'archived', 'EX', 3600)
if ARGV[2] == '1' then
  redis.call('SET', P .. 'dropping', 1)
else
  redis.call('DEL', P .. 'dropping')
end
return { 'ok' }
