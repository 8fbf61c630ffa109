-- The beat of a sale, four times a second from every pod: opens it, expires what is due, calls the next in line,
-- and answers with the snapshot that the pods serve polls from. Time comes from Redis and the elapsed time from
-- the record, so it makes no difference how many pods beat.
-- ARGV: run_id, known spec version, known map version, last event id ('' for none),
--       issued, called, lapsed, epoch as the pod last saw them (witnesses, should Redis lose its memory)
-- Returns ok,{name,value,...},spec or '',map or '',{event id, order, state, order, state, ...}
local stop = stranger()
if stop then
  local key = P .. 'witness'
  for i, name in ipairs({ 'issued', 'called', 'lapsed', 'epoch' }) do
    local seen = tonumber(ARGV[4 + i]) or 0
    if seen > (tonumber(redis.call('HGET', key, name)) or 0) then redis.call('HSET', key, name, seen) end
  end
  redis.call('PEXPIRE', key, 600000)
  -- The server of the record's run_id lives perhaps, and may be the master again before this is rebuilt, with our data.
  local run_id = redis.call('HGET', SALE, 'run_id')
  if run_id and not string.find(run_id, '^rebuilding:') then redis.call('HSET', SALE, 'run_id', 'lost') end
  return stop
end

local BATCH = 200 -- bounds the time that one beat may take
local STAGE = phase()
local POLICY = policy()

local function expire_sessions()
  for _, place in ipairs(redis.call('ZRANGEBYSCORE', P .. 'sessions', '-inf', NOW, 'LIMIT', 0, BATCH)) do
    for _, id in ipairs(holds_of(place)) do
      local hold = read_hold(id)
      if hold and hold.state == 'held' then
        free_hold(id, hold)
        add('expired_holds', 1)
      end
    end
    end_sessions({ place })
    add('expired_sessions', 1)
  end
end

local function expire_holds()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'hold_until', '-inf', NOW, 'LIMIT', 0, BATCH)) do
    local hold = read_hold(id)
    if hold and hold.state == 'held' then
      free_hold(id, hold)
      add('expired_holds', 1)
    end
    redis.call('ZREM', P .. 'hold_until', id)
  end
end

local function learn_show_rate(cohort, came)
  local v = get('show_called', 'show_claimed')
  local called, claimed = learned(tonumber(v[1]), tonumber(v[2]), cohort, came)
  redis.call('HSET', SALE, 'show_called', called, 'show_claimed', claimed)
end

-- Those refused at the door because the hall was full do not lapse while they keep knocking.
local function knocking(place)
  local seen = redis.call('HGET', P .. 'door_seen', place)
  return seen and NOW - tonumber(seen) < tonumber(redis.call('HGET', SALE, 'claim_ms'))
end

-- Looks past those at the door, so that true means: of all up to that number only they are left.
local function lapse_places(upto)
  local most, removed = BATCH + redis.call('ZCARD', P .. 'door'), 0
  for _, place in ipairs(redis.call('ZRANGEBYSCORE', P .. 'line', '-inf', upto, 'LIMIT', 0, most)) do
    if not knocking(place) then
      redis.call('ZREM', P .. 'line', place)
      leave_door(place)
      removed = removed + 1
    end
  end
  add('lapses', removed)
  return removed < BATCH
end

local function lapse(clock)
  local claim_ms = number('claim_ms')
  local oldest = redis.call('ZRANGE', P .. 'calls', 0, 19, 'WITHSCORES')
  for i = 1, #oldest, 2 do
    local cohort, upto = oldest[i], tonumber(oldest[i + 1])
    if tonumber(string.match(cohort, ':(%d+)$')) + claim_ms > clock then return end
    if not lapse_places(upto) then return end
    learn_show_rate(tonumber(redis.call('HGET', P .. 'cohort', cohort)) or 0,
      tonumber(redis.call('HGET', P .. 'claims', cohort)) or 0)
    redis.call('ZREM', P .. 'calls', cohort)
    redis.call('HDEL', P .. 'cohort', cohort)
    redis.call('HDEL', P .. 'claims', cohort)
    redis.call('HSET', SALE, 'lapsed_raw', upto)
  end
end

-- Whoever stopped knocking at the door lapses at last.
local function sweep_door()
  for _, place in ipairs(redis.call('ZRANGE', P .. 'door', 0, 19)) do
    if not knocking(place) then
      redis.call('ZREM', P .. 'line', place)
      leave_door(place)
      add('lapses', 1)
    end
  end
end

-- Numbers at or below it are over: claimed, left or lapsed. It stays below whoever still knocks at the door.
local function lapsed_mark()
  local v = get('lapsed', 'lapsed_raw')
  local door = redis.call('ZRANGE', P .. 'door', 0, 0, 'WITHSCORES')
  local mark = tonumber(v[2])
  if door[2] then mark = math.min(mark, tonumber(door[2]) - 1) end
  return math.max(tonumber(v[1]), mark)
end

-- Of those called in the last ten seconds, and those knocking at the door.
local function expected(share)
  local called, claimed = 0, 0
  for _, cohort in ipairs(redis.call('ZREVRANGE', P .. 'calls', 0, 49)) do
    if tonumber(string.match(cohort, '^%d+')) < NOW - 10000 then break end
    called = called + (tonumber(redis.call('HGET', P .. 'cohort', cohort)) or 0)
    claimed = claimed + (tonumber(redis.call('HGET', P .. 'claims', cohort)) or 0)
  end
  return still_coming(share, called, claimed, redis.call('ZCARD', P .. 'door'))
end

local function inventory_cap(inside, outstanding, share)
  local v = get('free', 'ended', 'conv_paid', 'conv_seats', 'max_seats')
  for i = 1, 5 do v[i] = tonumber(v[i]) end
  local choosing = math.max(0, inside - redis.call('HLEN', P .. 'mine'))
  return seats_cap(v[1], v[2], v[3], v[4], v[5], inside, choosing, outstanding, share)
end

local function pace(v, inside, share)
  if v.mode == 'Manual' then return tonumber(v.per_minute) / 60 end
  return calls_per_second(target(), inside, expected(share), tonumber(v.departures), tonumber(v.tau), share)
end

local function call_next(v, dt, clock)
  local inside, share = active(), show_rate(tonumber(v.show_called), tonumber(v.show_claimed))
  local outstanding = redis.call('ZCOUNT', P .. 'line', '-inf', v.called)
  local wish = pace(v, inside, share) * dt + tonumber(v.carry)
  if v.mode == 'Manual' and inside >= target() then wish = 0 end
  local k, carry = whole_calls(wish, inventory_cap(inside, outstanding, share))
  redis.call('HSET', SALE, 'carry', carry)
  if k < 1 then return 0 end
  local last = math.min(outstanding + k, redis.call('ZCARD', P .. 'line')) - 1
  if last < outstanding then return 0 end
  local upto = tonumber(redis.call('ZRANGE', P .. 'line', last, last, 'WITHSCORES')[2])
  local cohort = NOW .. ':' .. clock
  redis.call('ZADD', P .. 'calls', upto, cohort)
  redis.call('HSET', P .. 'cohort', cohort, last - outstanding + 1)
  redis.call('HSET', SALE, 'called', upto)
  return last - outstanding + 1
end

local function smooth(v, dt, calls)
  local departed = tonumber(v.departed) - tonumber(v.departed_seen)
  local departures, mean, spread =
    smoothed(tonumber(v.departures), tonumber(v.pace), tonumber(v.spread), departed, calls, dt)
  redis.call('HSET', SALE, 'departures', departures, 'departed_seen', v.departed, 'pace', mean, 'spread', spread)
end

local function fields()
  local flat, v = redis.call('HGETALL', SALE), {}
  for i = 1, #flat, 2 do v[flat[i]] = flat[i + 1] end
  return v
end

local function open_if_due(v)
  if v.epoch == '1' and NOW >= tonumber(v.opens_ms) and STAGE ~= 'closed' then
    redis.call('HSET', SALE, 'epoch', 2, 'opened_ms', NOW)
    STAGE = 'open'
  end
end

local function beat()
  local v = fields()
  local elapsed = NOW - tonumber(v.last_ms)
  if elapsed < 0 then -- the server's clock was set back: go on from there
    redis.call('HSET', SALE, 'last_ms', NOW)
    return
  end
  if elapsed < 225 then return end
  redis.call('HSET', SALE, 'last_ms', NOW)
  open_if_due(v)
  expire_sessions()
  expire_holds()
  local stopped = tonumber(v.stopped_ms)
  local full = active() + 1 > most_inside(target())
  if elapsed > 5000 or STAGE == 'closed' or full then
    stopped = stopped + elapsed
    redis.call('HSET', SALE, 'stopped_ms', stopped)
  end
  if STAGE ~= 'open' then return end
  local clock = NOW - stopped
  lapse(clock)
  sweep_door()
  redis.call('HSET', SALE, 'lapsed', lapsed_mark())
  local dt, calls = math.min(1, elapsed / 1000), 0
  v = fields()
  local resumes = math.max(tonumber(v.resume_ms), tonumber(v.stop_ms) or 0)
  if POLICY == 'Open' and NOW >= resumes then calls = call_next(v, dt, clock) end
  smooth(v, dt, calls)
end

local function stage_word(v)
  if STAGE ~= 'open' then return STAGE end
  if tonumber(v.sold) >= tonumber(v.total) then return 'soldOut' end
  if POLICY == 'Hold' then return 'hold' end
  if POLICY == 'Drain' then return 'drain' end
  if tonumber(v.free) <= 0 then return 'allTaken' end
  return 'open'
end

-- Orders that the log does not have yet; and the age of the oldest, of the ten that nobody has tried for longest.
local function intents()
  local count, placed = redis.call('ZCARD', P .. 'unpublished'), NOW
  if count == 0 then return 0, 0 end
  for _, id in ipairs(redis.call('ZRANGE', P .. 'unpublished', 0, 9)) do
    placed = math.min(placed, tonumber(redis.call('HGET', P .. 'order:' .. id, 'placed_ms')) or NOW)
  end
  return count, NOW - placed
end

-- The line document's version rises with its content, so that equal versions are equal bytes.
local function snapshot()
  local v = fields()
  local called = tonumber(v.called)
  local outstanding = redis.call('ZCOUNT', P .. 'line', '-inf', called)
  local waiting = redis.call('ZCARD', P .. 'line') - outstanding
  local word = stage_word(v)
  local mean, swing = shown_pace(tonumber(v.pace), tonumber(v.spread), NOW - tonumber(v.opened_ms))
  local per_minute = math.floor(mean * 60 + 0.5)
  local unpublished, oldest_ms = intents()
  local content = table.concat({ word, v.epoch, v.issued, v.called, v.lapsed, waiting, v.free, per_minute }, ' ')
  if content ~= v.content then
    v.version = add('version', 1)
    redis.call('HSET', SALE, 'content', content)
  end
  return { 'version', v.version, 'state', word, 'policy', POLICY, 'epoch', v.epoch, 'issued', v.issued,
    'called', v.called, 'lapsed', v.lapsed, 'waiting', waiting, 'outstanding', outstanding, 'free', v.free,
    'held', v.held, 'paying', v.paying, 'sold', v.sold, 'total', v.total, 'active', active(),
    'target', target(), 'target_decided', v.mode == 'Auto' and tonumber(v.target) or target(),
    'intents', unpublished, 'intents_ms', oldest_ms,
    'per_minute', per_minute, 'swing_per_mille', math.floor(swing * 1000),
    'now', NOW, 'recovered_ms', v.recovered_ms, 'spec_v', v.spec_v, 'map_v', v.map_v,
    'opened_ms', v.opened_ms, 'lapses', v.lapses, 'expired_holds', v.expired_holds,
    'expired_sessions', v.expired_sessions, 'ended', v.ended }, v
end

local function events(last)
  local key = P .. 'events'
  if last == '' then
    local tail = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
    return { tail[1] and tail[1][1] or '0-0' }
  end
  local out = { last }
  for _, entry in ipairs(redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 50)) do
    out[1] = entry[1]
    for _, word in ipairs(entry[2]) do out[#out + 1] = word end -- order, state, order, state ...
  end
  return out
end

beat()
local view, v = snapshot()
local spec, map = '', ''
if ARGV[2] ~= v.spec_v then spec = redis.call('GET', P .. 'spec') end
if ARGV[3] ~= v.map_v then map = redis.call('GET', P .. 'map') end
return { 'ok', view, spec, map, events(ARGV[4]), v.uid }
