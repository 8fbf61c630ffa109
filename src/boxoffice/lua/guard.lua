-- Stands in front of every script. KEYS[1] is the sale's record '{instance:sale}:sale'; every other key of the
-- sale shares its hash tag and is derived from it. ARGV[1] is the run_id of the server that the caller's
-- connection leads to. NOW is this server's clock, in ms: the only clock that decides.
local SALE = KEYS[1]
local P = string.sub(SALE, 1, -5)
local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)
local FREE, HELD, PAYING, SOLD = 0, 1, 2, 3
local COUNTER = { [0] = 'free', [1] = 'held', [2] = 'paying', [3] = 'sold' }
local STRICTNESS = { Open = 0, Hold = 1, Drain = 2, Closed = 3 }

local function get(...)
  return redis.call('HMGET', SALE, ...)
end

local function number(name)
  return tonumber(redis.call('HGET', SALE, name)) or 0
end

local function add(name, by)
  return redis.call('HINCRBY', SALE, name, by)
end

-- nil, or the reply that ends a script on a server that does not know this sale (any more).
local function stranger()
  local run_id = redis.call('HGET', SALE, 'run_id')
  if not run_id then return { 'missing' } end
  if run_id ~= ARGV[1] then return { 'recovering' } end
  return nil
end

-- The stricter of what the resource says and what an override says, as long as the override lasts; a sale whose
-- resource is gone drains.
local function policy()
  local v = get('policy', 'override', 'override_until', 'orphaned_ms')
  local strictest, over = v[1], v[2]
  if over and over ~= '' and (v[3] == '0' or tonumber(v[3]) > NOW) then
    if STRICTNESS[over] > STRICTNESS[strictest] then strictest = over end
  end
  if v[4] and STRICTNESS.Drain > STRICTNESS[strictest] then strictest = 'Drain' end
  return strictest
end

-- scheduled | prequeue | open | closed. Epoch 2 begins when the sale opens.
local function phase()
  local v = get('epoch', 'prequeue_ms', 'closes_ms')
  if policy() == 'Closed' or NOW >= tonumber(v[3]) then return 'closed' end
  if v[1] ~= '1' then return 'open' end
  if NOW < tonumber(v[2]) then return 'scheduled' end
  return 'prequeue'
end

-- GCRA: `burst` at once, then `per_minute`. Returns allowed, how many are left, ms until one more is allowed.
local function limited(name, per_minute, burst)
  local key = P .. 'limit:' .. name
  local step = 60000 / per_minute
  local tat = math.max(tonumber(redis.call('GET', key)) or NOW, NOW)
  local after = tat + step
  if after - NOW > step * burst then
    return true, 0, math.ceil(after - NOW - step * burst)
  end
  redis.call('SET', key, after, 'PX', math.ceil(after - NOW))
  return false, math.floor((step * burst - (after - NOW)) / step), 0
end

local function active()
  return redis.call('ZCARD', P .. 'sessions') + redis.call('SCARD', P .. 'overstay')
end

-- What A* is now: the number of buyers that should be inside. What was decided in Auto fades when nobody renews it.
local function target()
  local v = get('mode', 'target', 'max_active', 'fallback_active', 'decided_ms')
  if v[1] == 'Manual' then return tonumber(v[3]) end
  if v[1] == 'Advise' or not v[5] then return tonumber(v[2]) end
  return faded(tonumber(v[2]), tonumber(v[4]), (NOW - tonumber(v[5])) / 1000)
end

local function start_session(place, sid, n, until_ms)
  redis.call('HSET', P .. 'session', place, sid .. ':' .. n)
  redis.call('ZADD', P .. 'sessions', until_ms, place)
  redis.call('SREM', P .. 'overstay', place)
end

-- Sessions of these places, once each, end. A buyer who still has an unsettled order stays counted as inside until
-- it is settled.
local function end_sessions(places)
  local ended, unsettled = {}, {}
  for i, score in ipairs(redis.call('ZMSCORE', P .. 'sessions', unpack(places))) do
    if score then ended[#ended + 1] = places[i] end
  end
  if #ended == 0 then return end
  redis.call('ZREM', P .. 'sessions', unpack(ended))
  redis.call('HDEL', P .. 'session', unpack(ended))
  add('ended', #ended)
  for i, orders in ipairs(redis.call('HMGET', P .. 'busy', unpack(ended))) do
    if orders then unsettled[#unsettled + 1] = ended[i] end
  end
  if #unsettled > 0 then redis.call('SADD', P .. 'overstay', unpack(unsettled)) end
  add('departed', #ended - #unsettled)
end

-- nil when this admission is the live one of its place; else why not. An admission from before Redis lost its
-- memory puts its own session back.
local function refused_entry(place, sid, issued_ms, until_ms, n)
  local have = redis.call('HGET', P .. 'session', place)
  local have_sid = have and tonumber(string.match(have, '^%d+')) or 0
  if have_sid == sid then
    local score = redis.call('ZSCORE', P .. 'sessions', place)
    if score and tonumber(score) > NOW then return nil end
    return 'not_admitted'
  end
  if have_sid > sid then return 'superseded' end
  if issued_ms < number('recovered_ms') and until_ms > NOW then
    start_session(place, sid, n, until_ms)
    return nil
  end
  return 'not_admitted'
end

local function seat_states(seats)
  local ops = {}
  for _, seat in ipairs(seats) do
    ops[#ops + 1] = 'GET'
    ops[#ops + 1] = 'u2'
    ops[#ops + 1] = '#' .. seat
  end
  return redis.call('BITFIELD', P .. 'map', unpack(ops))
end

-- Moves seats to a state and counts every change.
local function mark_seats(seats, state)
  if #seats == 0 then return end
  local ops, was, moved = {}, {}, 0
  for _, seat in ipairs(seats) do
    local n = #ops
    ops[n + 1], ops[n + 2], ops[n + 3], ops[n + 4] = 'SET', 'u2', '#' .. seat, state
  end
  for _, old in ipairs(redis.call('BITFIELD', P .. 'map', unpack(ops))) do
    if old ~= state then
      was[old] = (was[old] or 0) + 1
      moved = moved + 1
    end
  end
  if moved == 0 then return end
  for old, count in pairs(was) do add(COUNTER[old], -count) end
  add(COUNTER[state], moved)
  add('map_v', 1)
end

-- Moves seats to a state and to an owner: 'h<hold>' or 'o<order>', nil for free.
local function set_seats(seats, state, owner)
  if #seats == 0 then return end
  mark_seats(seats, state)
  if not owner then return redis.call('HDEL', P .. 'owner', unpack(seats)) end
  local owned = {}
  for i, seat in ipairs(seats) do owned[2 * i - 1], owned[2 * i] = seat, owner end
  redis.call('HSET', P .. 'owner', unpack(owned))
end

local function read_hold(id)
  local packed = redis.call('HGET', P .. 'holds', id)
  return packed and cmsgpack.unpack(packed) or nil
end

local function write_hold(id, hold)
  redis.call('HSET', P .. 'holds', id, cmsgpack.pack(hold))
end

-- A place's live holds, by id, as a comma list; few, because seats a buyer are capped.
local function remember_hold(place, id)
  local mine = redis.call('HGET', P .. 'mine', place)
  redis.call('HSET', P .. 'mine', place, mine and (mine .. ',' .. id) or id)
end

local function holds_of(place)
  local ids = {}
  for id in string.gmatch(redis.call('HGET', P .. 'mine', place) or '', '%d+') do
    ids[#ids + 1] = id
  end
  return ids
end

local function count_seats(place, by)
  if redis.call('HINCRBY', P .. 'count', place, by) <= 0 then
    redis.call('HDEL', P .. 'count', place)
  end
end

local function keys_of(set)
  local keys = {}
  for key in pairs(set) do keys[#keys + 1] = key end
  return keys
end

-- A place's live holds but for `gone`, as a comma list; '' for none.
local function rest_of(mine, gone)
  local rest = {}
  for id in string.gmatch(mine or '', '%d+') do
    if not gone[id] then rest[#rest + 1] = id end
  end
  return table.concat(rest, ',')
end

-- Ends the records of holds, given by id. Their seats are the caller's business.
local function forget_holds(holds)
  local ids, by_place, empty = keys_of(holds), {}, {}
  if #ids == 0 then return end
  redis.call('HDEL', P .. 'holds', unpack(ids))
  redis.call('ZREM', P .. 'hold_until', unpack(ids))
  for _, hold in pairs(holds) do by_place[hold.place] = true end
  local places = keys_of(by_place)
  for i, mine in ipairs(redis.call('HMGET', P .. 'mine', unpack(places))) do
    local rest = rest_of(mine, holds)
    if rest == '' then
      empty[#empty + 1] = places[i]
    else
      redis.call('HSET', P .. 'mine', places[i], rest)
    end
  end
  if #empty > 0 then redis.call('HDEL', P .. 'mine', unpack(empty)) end
end

-- Gives the seats of a hold back to everybody.
local function free_hold(id, hold)
  set_seats(hold.seats, FREE, nil)
  count_seats(hold.place, -#hold.seats)
  forget_holds({ [id] = hold })
end

-- In, gone or lapsed.
local function leave_door(place)
  redis.call('ZREM', P .. 'door', place)
  redis.call('HDEL', P .. 'door_seen', place)
  redis.call('HDEL', P .. 'door_called', place)
end

-- One more order of this place is unsettled.
local function busy(place)
  redis.call('HINCRBY', P .. 'busy', place, 1)
end

-- The counters that a new record starts with.
local function blank_record()
  for _, name in ipairs({ 'issued', 'called', 'lapsed', 'lapsed_raw', 'sid', 'fence', 'departed', 'departed_seen',
    'departures', 'pace', 'spread', 'carry', 'tau', 'show_called', 'show_claimed', 'ended', 'conv_paid', 'conv_seats',
    'stopped_ms', 'recovered_ms', 'resume_ms', 'opened_ms', 'version', 'spec_v', 'map_v', 'lapses', 'expired_holds',
    'expired_sessions', 'contested', 'writer', 'override_until' }) do
    redis.call('HSET', SALE, name, 0)
  end
end

local function empty_house(total)
  redis.call('DEL', P .. 'map', P .. 'owner')
  redis.call('SETRANGE', P .. 'map', math.ceil(total / 4) - 1, '\0')
  redis.call('HSET', SALE, 'total', total, 'free', total, 'held', 0, 'paying', 0, 'sold', 0)
end

local function split(list)
  local out = {}
  for item in string.gmatch(list, '[^,]+') do out[#out + 1] = tonumber(item) end
  return out
end
