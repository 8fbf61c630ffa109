-- Takes orders whose publish lease ran out, under a new lease.
-- ARGV: run_id, how many, lease_ms
-- Returns ok,{order, placed_ms, place, hold, seats, method, currency, ...}
local bad = stranger()
if bad then return bad end
local out = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'unpublished', '-inf', NOW, 'LIMIT', 0, ARGV[2])) do
  local key = P .. 'order:' .. id
  local o = redis.call('HMGET', key, 'placed_ms', 'place', 'hold', 'seats', 'method', 'currency')
  if o[1] then
    local lease = NOW + tonumber(ARGV[3])
    redis.call('HSET', key, 'lease_ms', lease)
    redis.call('ZADD', P .. 'unpublished', lease, id)
    for _, item in ipairs({ id, unpack(o) }) do out[#out + 1] = item end
  else
    redis.call('ZREM', P .. 'unpublished', id)
  end
end
return { 'ok', out }
