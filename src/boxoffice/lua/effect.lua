-- settle: what the ledger decided takes effect, of many orders in one call. Repeats are harmless: seats move only
-- while they are `paying` by that very order.
-- ARGV: run_id, then for each order: order, outcome, reason, place, hold, seats (comma list), sold in the ledger
--       (comma list), placed_ms, method, currency, fingerprint
-- Returns ok
local bad = stranger()
if bad then return bad end
local FINAL = { paid = true, declined = true, refused = true, refunded = true }

local function own_seats(seats, owner)
  local owners = redis.call('HMGET', P .. 'owner', unpack(seats))
  local mine = {}
  for i, seat in ipairs(seats) do
    if owners[i] == owner then mine[#mine + 1] = seat end
  end
  return mine
end

local function give_back(e)
  if #e.mine > 0 then set_seats(e.mine, FREE, nil) end
  if e.hold then
    count_seats(e.place, -#e.hold.seats)
    forget_hold(e.hold_id, e.hold)
  end
end

-- A buyer whose order came to nothing has the rest of the time, at least a minute.
local function session_back(e)
  if not e.hold or phase() ~= 'open' then return end
  local place, session = e.place, redis.call('HGET', P .. 'session', e.place)
  local until_ms = NOW + math.max(e.hold.session_rest_ms or 0, 60000)
  if session then
    redis.call('ZADD', P .. 'sessions', 'GT', until_ms, place)
  else
    local o = redis.call('HMGET', e.key, 'sid', 'number')
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

local take = {}

function take.paid(e)
  if #e.mine > 0 then set_seats(e.mine, SOLD, 'o' .. e.id) end
  if e.hold then forget_hold(e.hold_id, e.hold) end
  add('conv_paid', 1)
  add('conv_seats', #e.mine)
  if #holds_of(e.place) == 0 then end_session(e.place) end
end

function take.declined(e)
  local hold = e.hold
  if not hold then return end
  hold.tries = hold.tries + 1
  session_back(e)
  if hold.tries >= 3 or phase() ~= 'open' then return give_back(e) end
  hold.state, hold.order = 'held', false
  hold.until_ms = NOW + math.max(hold.rest_ms, 60000)
  write_hold(e.hold_id, hold)
  redis.call('ZADD', P .. 'hold_until', hold.until_ms, e.hold_id)
  set_seats(e.mine, HELD, 'h' .. e.hold_id)
  redis.call('HSET', e.key, 'hold_until_ms', hold.until_ms)
end

-- The ledger knows another owner: what it has sold is sold, the rest goes back.
function take.refused(e)
  session_back(e)
  local theirs = {}
  for _, seat in ipairs(e.sold) do theirs[seat] = true end
  local back, sold = {}, {}
  for _, seat in ipairs(e.mine) do
    if theirs[seat] then sold[#sold + 1] = seat else back[#back + 1] = seat end
  end
  if #sold > 0 then set_seats(sold, SOLD, 'ledger') end
  e.mine = back
  give_back(e)
end

function take.refunded(e)
  if #e.mine > 0 then
    set_seats(e.mine, FREE, nil)
    count_seats(e.place, -#e.mine)
  end
  if e.hold then forget_hold(e.hold_id, e.hold) end -- that it had been paid was never heard here
end

function take.unresolved() end

local function tell(id, outcome, reason, place, hold_id, seats, sold, placed_ms, method, currency, fingerprint)
  local key = P .. 'order:' .. id
  local was = redis.call('HGET', key, 'state')
  if was == outcome or was == 'refunded' or (FINAL[was] and outcome ~= 'refunded') then return end
  local list = split(seats)
  local hold = read_hold(hold_id)
  if hold and (hold.state ~= 'paying' or hold.order ~= id) then hold = nil end
  if not was then
    redis.call('RPUSH', P .. 'orders:' .. place, id)
    redis.call('HSET', key, 'place', place, 'hold', hold_id, 'seats', seats, 'placed_ms', placed_ms,
      'method', method, 'currency', currency, 'fingerprint', fingerprint,
      'lease_ms', 0, 'sid', 0, 'number', 0)
  end
  redis.call('HSET', key, 'state', outcome, 'reason', reason)
  redis.call('ZREM', P .. 'unpublished', id)
  take[outcome]({ id = id, key = key, place = place, hold_id = hold_id, hold = hold, sold = split(sold),
    mine = own_seats(list, 'o' .. id) })
  if outcome ~= 'unresolved' and (was == 'pending' or was == 'accepted' or was == 'unresolved') then
    busy(place, -1)
  end
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', 5000, '*', 'o', id, 's', outcome)
end

for i = 2, #ARGV, 11 do tell(unpack(ARGV, i, i + 10)) end
return { 'ok' }
