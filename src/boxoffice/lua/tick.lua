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
local T_FILL = 10 -- seconds in which the gap between inside and target is closed
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

-- The share of called buyers who come, from cohorts past their claim time; older ones count less.
local function learn_show_rate(called, claimed)
  local v = get('show_called', 'show_claimed')
  local keep = 0.98
  redis.call('HSET', SALE, 'show_called', tonumber(v[1]) * keep + called,
    'show_claimed', tonumber(v[2]) * keep + math.min(called, claimed))
end

local function show_rate()
  local v = get('show_called', 'show_claimed')
  local prior = 5 -- five buyers who came: until something is known, everybody comes
  return math.max(0.2, math.min(1, (tonumber(v[2]) + prior) / (tonumber(v[1]) + prior)))
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
      redis.call('ZREM', P .. 'door', place)
      redis.call('HDEL', P .. 'door_seen', place)
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
      redis.call('ZREM', P .. 'door', place)
      redis.call('HDEL', P .. 'door_seen', place)
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

-- Buyers called in the last ten seconds who are still expected, and those knocking at the door.
local function expected(share)
  local called, claimed = 0, 0
  for _, cohort in ipairs(redis.call('ZREVRANGE', P .. 'calls', 0, 49)) do
    if tonumber(string.match(cohort, '^%d+')) < NOW - 10000 then break end
    called = called + (tonumber(redis.call('HGET', P .. 'cohort', cohort)) or 0)
    claimed = claimed + (tonumber(redis.call('HGET', P .. 'claims', cohort)) or 0)
  end
  return math.max(0, share * called - claimed, redis.call('ZCARD', P .. 'door'))
end

-- No more are called than there are seats for them, with 30 % to spare for those who do not buy.
local function inventory_cap(inside, outstanding, share)
  local v = get('free', 'ended', 'conv_paid', 'conv_seats', 'max_seats')
  local free = tonumber(v[1])
  local ended, paid, seats = tonumber(v[2]), tonumber(v[3]), tonumber(v[4])
  local each = math.min(tonumber(v[5]), (20 * 1.5 + seats) / (20 + paid)) * math.min(1, (20 * 0.8 + paid) / (20 + ended))
  local choosing = math.max(0, inside - redis.call('HLEN', P .. 'mine'))
  local cap = math.ceil(1.3 * math.max(0, free - choosing * each) / each) - math.ceil(share * outstanding)
  if cap < 1 and free > 0 and inside == 0 and outstanding == 0 then cap = 1 end
  return cap
end

-- u = clamp((D + (A* + D tau - A - E) / T_fill) / s, 0, u_max), in buyers a second: the design's inner loop.
local function pace(v, inside, share)
  if v.mode == 'Manual' then return tonumber(v.per_minute) / 60 end
  local goal = target()
  local D, tau = tonumber(v.departures), tonumber(v.tau)
  local u = (D + (goal + D * tau - inside - expected(share)) / T_FILL) / share
  return math.max(0, math.min(u, math.max(1, 2 * goal / T_FILL)))
end

local function call_next(v, dt, clock)
  local inside, share = active(), show_rate()
  local outstanding = redis.call('ZCOUNT', P .. 'line', '-inf', v.called)
  local wish = pace(v, inside, share) * dt + tonumber(v.carry)
  if v.mode == 'Manual' and inside >= target() then wish = 0 end
  local k = math.min(math.floor(wish), inventory_cap(inside, outstanding, share))
  redis.call('HSET', SALE, 'carry', math.min(1, math.max(0, wish - math.max(0, k))))
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

-- Departures a second and calls a second, smoothed; the spread of the pace makes the range of the ETA.
local function smooth(v, dt, calls)
  local departed = tonumber(v.departed) - tonumber(v.departed_seen)
  local D = tonumber(v.departures)
  D = D + (departed / dt - D) * (1 - math.exp(-dt / 10))
  local mean, spread = tonumber(v.pace), tonumber(v.spread)
  local weight = 1 - math.exp(-dt / 20)
  local gap = calls / dt - mean
  mean = mean + gap * weight
  spread = (1 - weight) * (spread + weight * gap * gap)
  redis.call('HSET', SALE, 'departures', D, 'departed_seen', v.departed, 'pace', mean, 'spread', spread)
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
  local full = active() + 1 > math.max(1, 1.1 * target())
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
  if POLICY == 'Open' and NOW >= tonumber(v.resume_ms) then calls = call_next(v, dt, clock) end
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

-- The line document's version rises with its content, so that equal versions are equal bytes.
local function snapshot()
  local v = fields()
  local called = tonumber(v.called)
  local outstanding = redis.call('ZCOUNT', P .. 'line', '-inf', called)
  local waiting = redis.call('ZCARD', P .. 'line') - outstanding
  local word = stage_word(v)
  -- The mean starts from nothing at the opening; without this everybody would be told hours at first.
  local grown = 1 - math.exp(-math.max(1000, NOW - tonumber(v.opened_ms)) / 20000)
  local mean = tonumber(v.pace) / grown
  local per_minute = math.floor(mean * 60 + 0.5)
  local swing = 1
  if mean > 0 then swing = math.max(0.1, math.min(1, math.sqrt(tonumber(v.spread) / 20) / mean)) end
  local content = table.concat({ word, v.epoch, v.issued, v.called, v.lapsed, waiting, v.free, per_minute }, ' ')
  if content ~= v.content then
    v.version = add('version', 1)
    redis.call('HSET', SALE, 'content', content)
  end
  return { 'version', v.version, 'state', word, 'policy', POLICY, 'epoch', v.epoch, 'issued', v.issued,
    'called', v.called, 'lapsed', v.lapsed, 'waiting', waiting, 'outstanding', outstanding, 'free', v.free,
    'held', v.held, 'paying', v.paying, 'sold', v.sold, 'total', v.total, 'active', active(),
    'target', target(), 'per_minute', per_minute, 'swing_per_mille', math.floor(swing * 1000),
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
