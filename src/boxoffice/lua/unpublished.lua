-- The log did not take the order: the lease ends now, so that the relay, or the buyer's repeat, may publish it.
-- ARGV: run_id, order
-- Returns ok
local bad = stranger()
if bad then return bad end
local key = P .. 'order:' .. ARGV[2]
if redis.call('HGET', key, 'state') == 'pending' then
  redis.call('HSET', key, 'lease_ms', NOW)
  redis.call('ZADD', P .. 'unpublished', NOW, ARGV[2])
end
return { 'ok' }
