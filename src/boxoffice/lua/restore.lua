-- After Redis lost its memory: a ticket from before puts its own number back.
-- ARGV: run_id, place, number, epoch, issued_ms
-- Returns ok,epoch,now | lapsed | stale
local bad = stranger()
if bad then return bad end
local place, n = ARGV[2], tonumber(ARGV[3])
local v = get('epoch', 'lapsed', 'recovered_ms', 'called')
if redis.call('HEXISTS', P .. 'session', place) == 1 then return { 'ok', tonumber(v[1]), NOW } end
local mine = redis.call('ZSCORE', P .. 'line', place)
if mine then
  if tonumber(mine) ~= n then return { 'stale' } end
elseif tonumber(ARGV[5]) >= tonumber(v[3]) or n <= tonumber(v[2]) then
  return { 'lapsed' }
else
  redis.call('ZADD', P .. 'line', n, place)
end
return { 'ok', tonumber(v[1]), NOW }
