-- settle: what the ledger decided takes effect. Repeats are harmless: seats move only while they are `paying` by
-- this very order.
-- ARGV: run_id, order, outcome, reason, place, hold, seats (comma list), sold in the ledger (comma list),
--       placed_ms, method, currency, fingerprint
-- Returns ok
local bad = stranger()
if bad then return bad end
local id, outcome, place, hold_id = ARGV[2], ARGV[3], ARGV[5], ARGV[6]
local key = P .. 'order:' .. id
local FINAL = { paid = true, declined = true, refused = true, refunded = true }
local was = redis.call('HGET', key, 'state')
if was == outcome or (was and FINAL[was] and outcome ~= 'refunded') then return { 'ok' } end
if was == 'refunded' then return { 'ok' } end

local function own_seats(owner)
  local mine = {}
  for _, seat in ipairs(split(ARGV[7])) do
    if redis.call('HGET', P .. 'owner', seat) == owner then mine[#mine + 1] = seat end
  end
  return mine
end

local mine = own_seats('o' .. id)
local hold = read_hold(hold_id)
if hold and (hold.state ~= 'paying' or hold.order ~= id) then hold = nil end

local function give_back()
  if #mine > 0 then set_seats(mine, FREE, nil) end
  if hold then
    count_seats(place, -#hold.seats)
    forget_hold(hold_id, hold)
  end
end

-- A buyer whose order came to nothing has the rest of the time, at least a minute.
local function session_back()
  if not hold or phase() ~= 'open' then return end
  local session = redis.call('HGET', P .. 'session', place)
  local until_ms = NOW + math.max(hold.session_rest_ms or 0, 60000)
  if session then
    redis.call('ZADD', P .. 'sessions', 'GT', until_ms, place)
  else
    local o = redis.call('HMGET', key, 'sid', 'number')
    local newer = redis.call('ZSCORE', P .. 'line', place) -- joined again meanwhile: it is that number's turn then
    redis.call('ZREM', P .. 'line', place)
    redis.call('ZREM', P .. 'door', place)
    redis.call('HDEL', P .. 'door_seen', place)
    redis.call('HSET', P .. 'session', place, o[1] .. ':' .. (newer or o[2]))
    redis.call('ZADD', P .. 'sessions', until_ms, place)
    redis.call('SREM', P .. 'overstay', place)
    add('ended', -1)
  end
end

local function paid()
  if #mine > 0 then set_seats(mine, SOLD, 'o' .. id) end
  if hold then forget_hold(hold_id, hold) end
  add('conv_paid', 1)
  add('conv_seats', #mine)
  if #holds_of(place) == 0 then end_session(place) end
end

local function declined()
  if not hold then return end
  hold.tries = hold.tries + 1
  session_back()
  if hold.tries >= 3 or phase() ~= 'open' then return give_back() end
  hold.state, hold.order = 'held', false
  hold.until_ms = NOW + math.max(hold.rest_ms, 60000)
  write_hold(hold_id, hold)
  redis.call('ZADD', P .. 'hold_until', hold.until_ms, hold_id)
  set_seats(mine, HELD, 'h' .. hold_id)
  redis.call('HSET', key, 'hold_until_ms', hold.until_ms)
end

-- The ledger knows another owner: what it has sold is sold, the rest goes back.
local function refused()
  session_back()
  local theirs = {}
  for _, seat in ipairs(split(ARGV[8])) do theirs[seat] = true end
  local back, sold = {}, {}
  for _, seat in ipairs(mine) do
    if theirs[seat] then sold[#sold + 1] = seat else back[#back + 1] = seat end
  end
  if #sold > 0 then set_seats(sold, SOLD, 'ledger') end
  mine = back
  give_back()
end

local function refunded()
  if #mine > 0 then
    set_seats(mine, FREE, nil)
    count_seats(place, -#mine)
  end
  if hold then forget_hold(hold_id, hold) end -- that it had been paid was never heard here
end

local unsettled = was == 'pending' or was == 'accepted' or was == 'unresolved'
if not was then
  redis.call('RPUSH', P .. 'orders:' .. place, id)
  redis.call('HSET', key, 'place', place, 'hold', hold_id, 'seats', ARGV[7], 'placed_ms', ARGV[9],
    'method', ARGV[10], 'currency', ARGV[11], 'fingerprint', ARGV[12],
    'lease_ms', 0, 'sid', 0, 'number', 0)
end
redis.call('HSET', key, 'state', outcome, 'reason', ARGV[4])
redis.call('ZREM', P .. 'unpublished', id)
if outcome == 'paid' then paid() end
if outcome == 'declined' then declined() end
if outcome == 'refused' then refused() end
if outcome == 'refunded' then refunded() end
if unsettled and outcome ~= 'unresolved' then
  busy(place, -1)
end
redis.call('XADD', P .. 'events', 'MAXLEN', '~', 5000, '*', 'o', id, 's', outcome)
return { 'ok' }
