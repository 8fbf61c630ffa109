-- The log has the order: it is accepted, and the relay need not look at it again.
-- ARGV: run_id, order, partition, offset
-- Returns ok,state | gone
local bad = stranger()
if bad then return bad end
local key = P .. 'order:' .. ARGV[2]
local state = redis.call('HGET', key, 'state')
if not state then return { 'gone' } end
redis.call('ZREM', P .. 'unpublished', ARGV[2])
redis.call('HSET', key, 'partition', ARGV[3], 'offset', ARGV[4])
if state == 'pending' then
  redis.call('HSET', key, 'state', 'accepted')
  state = 'accepted'
end
return { 'ok', state }
