-- Puts back what survived beside the ledger: holds whose seats are still free, with the time they had left;
-- orders that the ledger does not know are published again. Then the sale goes on.
-- ARGV: run_id, who rebuilds, grace_ms before the next call, so that tickets from before can put their places back
-- Returns ok,kept holds,lost holds,orders to publish
if redis.call('HGET', SALE, 'run_id') ~= 'rebuilding:' .. ARGV[2] .. ARGV[1] then return { 'recovering' } end
local FINAL = { paid = true, refused = true, refunded = true }
local gap = math.max(0, NOW - number('last_ms'))
local kept, lost, again = 0, 0, 0

local function all_free(seats)
  for _, state in ipairs(seat_states(seats)) do
    if state ~= FREE then return false end
  end
  return true
end

local function keep_paying(id, hold)
  set_seats(hold.seats, PAYING, 'o' .. hold.order)
  busy(hold.place)
  local key = P .. 'order:' .. hold.order
  if redis.call('HGET', key, 'state') ~= 'unresolved' then
    redis.call('HSET', key, 'state', 'pending', 'lease_ms', NOW)
    redis.call('HDEL', key, 'partition', 'offset')
    redis.call('ZADD', P .. 'unpublished', NOW, hold.order)
    again = again + 1
  end
end

local function keep_held(id, hold)
  hold.state, hold.order = 'held', false
  hold.until_ms = math.max(hold.until_ms + gap, NOW + 60000)
  set_seats(hold.seats, HELD, 'h' .. id)
  redis.call('ZADD', P .. 'hold_until', hold.until_ms, id)
end

redis.call('DEL', P .. 'mine', P .. 'hold_until')
local flat = redis.call('HGETALL', P .. 'holds')
for i = 1, #flat, 2 do
  local id, hold = flat[i], cmsgpack.unpack(flat[i + 1])
  local state = hold.order and redis.call('HGET', P .. 'order:' .. hold.order, 'state')
  if hold.order and FINAL[state] or not all_free(hold.seats) then
    redis.call('HDEL', P .. 'holds', id)
    lost = lost + 1
  else
    if hold.state == 'paying' and state ~= 'declined' then keep_paying(id, hold) else keep_held(id, hold) end
    write_hold(id, hold)
    remember_hold(hold.place, id)
    count_seats(hold.place, #hold.seats)
    kept = kept + 1
  end
end

flat = redis.call('ZRANGE', P .. 'sessions', 0, -1, 'WITHSCORES')
for i = 1, #flat, 2 do redis.call('ZADD', P .. 'sessions', tonumber(flat[i + 1]) + gap, flat[i]) end
for _, place in ipairs(redis.call('HKEYS', P .. 'busy')) do
  if redis.call('HEXISTS', P .. 'session', place) == 0 then redis.call('SADD', P .. 'overstay', place) end
end

-- Those whose call was lost with it were all called now, else each would be called when it comes.
local called = number('called')
if called > 0 and redis.call('ZCOUNT', P .. 'calls', called, '+inf') == 0 then
  local cohort = NOW .. ':' .. (NOW - number('stopped_ms') - gap)
  redis.call('ZADD', P .. 'calls', called, cohort)
end
redis.call('HSET', SALE, 'run_id', ARGV[1], 'recovered_ms', NOW, 'resume_ms', NOW + tonumber(ARGV[3]),
  'last_ms', NOW, 'stopped_ms', number('stopped_ms') + gap, 'carry', 0, 'departures', 0)
redis.call('DEL', P .. 'witness')
return { 'ok', kept, lost, again }
