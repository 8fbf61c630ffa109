-- A buyer leaves: the place, the session and every seat that is only held go back. Orders stand.
-- ARGV: run_id, place, number
-- Returns ok
local bad = stranger()
if bad then return bad end
local place, n = ARGV[2], tonumber(ARGV[3])
local mine = redis.call('ZSCORE', P .. 'line', place)
if mine and tonumber(mine) == n then redis.call('ZREM', P .. 'line', place) end
leave_door(place)
local session = redis.call('HGET', P .. 'session', place)
if session and string.match(session, ':(%d+)$') == ARGV[3] then
  for _, id in ipairs(holds_of(place)) do
    local hold = read_hold(id)
    if hold and hold.state == 'held' then free_hold(id, hold) end
  end
  end_sessions({ place })
end
return { 'ok' }
