-- settle: what the ledger decided takes effect, of many orders in one call. Repeats are harmless: seats move only
-- while they are `paying` by that very order. Nearly all orders are paid, so those are told together: some calls to
-- Redis for all of them, not thirty for each.
-- ARGV: run_id, then for each order: order, outcome, reason, place, hold, seats (comma list), sold in the ledger
--       (comma list), placed_ms, method, currency, fingerprint
-- Returns ok
local bad = stranger()
if bad then return bad end
local tally, news = {}, {}
local FINAL = { paid = true, declined = true, refused = true, refunded = true }

local function give_back(e)
  set_seats(e.mine, FREE, nil)
  if e.hold then
    count_seats(e.place, -#e.hold.seats)
    forget_holds({ [e.hold_id] = e.hold })
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
    leave_door(place)
    redis.call('HSET', P .. 'session', place, o[1] .. ':' .. (newer or o[2]))
    redis.call('ZADD', P .. 'sessions', until_ms, place)
    redis.call('SREM', P .. 'overstay', place)
    add('ended', -1)
  end
end

local take = {}

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
  set_seats(sold, SOLD, 'ledger')
  e.mine = back
  give_back(e)
end

function take.refunded(e)
  if #e.mine > 0 then
    set_seats(e.mine, FREE, nil)
    count_seats(e.place, -#e.mine)
  end
  if e.hold then forget_holds({ [e.hold_id] = e.hold }) end -- that it had been paid was never heard here
end

function take.unresolved() end

-- Those of the places that have no hold left.
local function done_here(places)
  local done = {}
  for i, mine in ipairs(redis.call('HMGET', P .. 'mine', unpack(places))) do
    if not mine then done[#done + 1] = places[i] end
  end
  return done
end

local function take_paid(orders)
  if #orders == 0 then return end
  local seats, holds, places = {}, {}, {}
  for _, e in ipairs(orders) do
    for _, seat in ipairs(e.mine) do seats[#seats + 1] = seat end
    if e.hold then holds[e.hold_id] = e.hold end
    places[e.place] = true
  end
  mark_seats(seats, SOLD) -- the owner is the order already
  forget_holds(holds)
  add('conv_paid', #orders)
  add('conv_seats', #seats)
  local done = done_here(keys_of(places))
  if #done > 0 then end_sessions(done) end
end

-- The order's own record says it from now on; nil when it did before.
local function enter(id, outcome, reason, place, hold_id, seats, sold, placed_ms, method, currency, fingerprint)
  local key = P .. 'order:' .. id
  local was = redis.call('HGET', key, 'state')
  if was == outcome or was == 'refunded' or (FINAL[was] and outcome ~= 'refunded') then return nil end
  if not was then
    redis.call('RPUSH', P .. 'orders:' .. place, id)
    redis.call('HSET', key, 'place', place, 'hold', hold_id, 'seats', seats, 'placed_ms', placed_ms,
      'method', method, 'currency', currency, 'fingerprint', fingerprint,
      'lease_ms', 0, 'sid', 0, 'number', 0)
  end
  redis.call('HSET', key, 'state', outcome, 'reason', reason)
  news[#news + 1] = id
  news[#news + 1] = outcome
  local unsettled = was == 'pending' or was == 'accepted' or was == 'unresolved'
  return { id = id, key = key, outcome = outcome, place = place, hold_id = hold_id, seats = split(seats),
    sold = split(sold), mine = {}, settled = unsettled and outcome ~= 'unresolved' }
end

-- Of each order: the hold that is still paying by it, and those of its seats that are still its own.
local function look_up(orders)
  local ids, holds, seats, at = {}, {}, {}, 0
  for i, e in ipairs(orders) do
    ids[i], holds[i] = e.id, e.hold_id
    for _, seat in ipairs(e.seats) do seats[#seats + 1] = seat end
  end
  redis.call('ZREM', P .. 'unpublished', unpack(ids))
  local packed = redis.call('HMGET', P .. 'holds', unpack(holds))
  local owners = redis.call('HMGET', P .. 'owner', unpack(seats))
  for i, e in ipairs(orders) do
    local hold = packed[i] and cmsgpack.unpack(packed[i])
    if hold and hold.state == 'paying' and hold.order == e.id then e.hold = hold end
    for _, seat in ipairs(e.seats) do
      at = at + 1
      if owners[at] == 'o' .. e.id then e.mine[#e.mine + 1] = seat end
    end
  end
end

-- Their buyers have fewer unsettled orders now; who has none and no session is no longer inside.
local function settle(orders)
  local less, idle = {}, {}
  for _, e in ipairs(orders) do
    if e.settled then less[e.place] = (less[e.place] or 0) + 1 end
  end
  local places = keys_of(less)
  if #places == 0 then return end
  for i, busy in ipairs(redis.call('HMGET', P .. 'busy', unpack(places))) do
    local left = (tonumber(busy) or 0) - less[places[i]]
    if left > 0 then
      redis.call('HSET', P .. 'busy', places[i], left)
    else
      idle[#idle + 1] = places[i]
    end
  end
  if #idle == 0 then return end
  redis.call('HDEL', P .. 'busy', unpack(idle))
  add('departed', redis.call('SREM', P .. 'overstay', unpack(idle)))
end

-- Counters of the sale's record are written once, at the end.
add = function(name, by) tally[name] = (tally[name] or 0) + by end

local told, paid = {}, {}
for i = 2, #ARGV, 11 do told[#told + 1] = enter(unpack(ARGV, i, i + 10)) end
if #told > 0 then look_up(told) end
for _, e in ipairs(told) do
  if e.outcome == 'paid' then paid[#paid + 1] = e else take[e.outcome](e) end
end
take_paid(paid)
settle(told)
if #news > 0 then redis.call('XADD', P .. 'events', 'MAXLEN', '~', 500, '*', unpack(news)) end
for name, by in pairs(tally) do
  if by ~= 0 then redis.call('HINCRBY', SALE, name, by) end
end
return { 'ok' }
