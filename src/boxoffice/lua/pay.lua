-- pay: a hold becomes an order; the order is its own idempotency record.
-- ARGV: run_id, place, sid, issued_ms, until_ms, number (from the admission), order, hold, fingerprint, method,
--       lease_ms, currency
-- Returns new,placed_ms,{seats} | again,placed_ms,{seats} (its lease ran out: publish once more)
--       | same (see the order) | busy,retry_ms | mismatch | gone | limited,retry_ms | not_admitted | superseded
local bad = stranger()
if bad then return bad end
local place, id, hold_id = ARGV[2], ARGV[7], ARGV[8]
local key = P .. 'order:' .. id
local lease = NOW + tonumber(ARGV[11])

local o = redis.call('HMGET', key, 'fingerprint', 'state', 'offset', 'lease_ms', 'placed_ms', 'seats')
if o[1] then
  if o[1] ~= ARGV[9] then return { 'mismatch' } end
  if o[2] ~= 'pending' then return { 'same' } end
  if tonumber(o[4]) > NOW then return { 'busy', tonumber(o[4]) - NOW } end
  redis.call('HSET', key, 'lease_ms', lease)
  redis.call('ZADD', P .. 'unpublished', lease, id)
  return { 'again', tonumber(o[5]), split(o[6]) }
end

local why = refused_entry(place, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6])
if why then return { why } end
local no, _, retry = limited('pay:' .. place, 20, 10)
if no then return { 'limited', retry } end
if redis.call('LLEN', P .. 'orders:' .. place) >= 100 then return { 'limited', 3600000 } end
local hold = read_hold(hold_id)
if not hold or hold.place ~= place or hold.state ~= 'held' or hold.until_ms <= NOW then return { 'gone' } end

hold.rest_ms = hold.until_ms - NOW
hold.session_rest_ms = math.max(0, tonumber(redis.call('ZSCORE', P .. 'sessions', place)) - NOW)
hold.state, hold.order = 'paying', id
write_hold(hold_id, hold)
redis.call('ZREM', P .. 'hold_until', hold_id)
set_seats(hold.seats, PAYING, 'o' .. id)
busy(place)
redis.call('HSET', key, 'fingerprint', ARGV[9], 'state', 'pending', 'lease_ms', lease, 'placed_ms', NOW,
  'seats', table.concat(hold.seats, ','), 'place', place, 'hold', hold_id, 'method', ARGV[10],
  'currency', ARGV[12], 'sid', ARGV[3], 'number', ARGV[6], 'reason', '')
redis.call('ZADD', P .. 'unpublished', lease, id)
redis.call('RPUSH', P .. 'orders:' .. place, id)
return { 'new', NOW, hold.seats }
