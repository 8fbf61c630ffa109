-- admit: a called place swaps its ticket for a session; the newest session of a place wins.
-- ARGV: run_id, place, number, epoch, issued_ms (all from the ticket)
-- Returns ok,sid,until_ms,called_ms,now | waiting | crowded | lapsed | stale | over
local bad = stranger()
if bad then return bad end
local place, n, epoch, issued_ms = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local v = get('epoch', 'called', 'session_ms', 'lapsed', 'recovered_ms', 'tau')
if phase() == 'closed' then return { 'over' } end
if tonumber(v[1]) ~= epoch then return { 'stale' } end

local session = redis.call('HGET', P .. 'session', place)
if session then
  if string.match(session, ':(%d+)$') ~= ARGV[3] then return { 'stale' } end
  local sid = add('sid', 1)
  local until_ms = tonumber(redis.call('ZSCORE', P .. 'sessions', place))
  if until_ms <= NOW then return { 'lapsed' } end
  redis.call('HSET', P .. 'session', place, sid .. ':' .. n)
  return { 'ok', sid, until_ms, 0, NOW }
end

local mine = redis.call('ZSCORE', P .. 'line', place)
if not mine then
  if issued_ms >= tonumber(v[5]) or n <= tonumber(v[4]) then return { 'lapsed' } end
  redis.call('ZADD', P .. 'line', n, place) -- the ticket is the durable copy of a place
elseif tonumber(mine) ~= n then
  return { 'stale' }
end
if n > tonumber(v[2]) or epoch < 2 then return { 'waiting' } end
local cohort = redis.call('ZRANGEBYSCORE', P .. 'calls', n, '+inf', 'LIMIT', 0, 1)[1]
local of_cohort = cohort and tonumber(string.match(cohort, '^%d+')) or NOW
-- Who waits at the door came before, and the cohort that called it may be past its time.
local knocked = tonumber(redis.call('HGET', P .. 'door_called', place))
local called_ms = knocked or of_cohort
if cohort and not knocked then
  redis.call('HSET', SALE, 'tau', claim_delay(tonumber(v[6]), (NOW - called_ms) / 1000))
end
if active() + 1 > most_inside(target()) then
  redis.call('ZADD', P .. 'door', n, place)
  redis.call('HSET', P .. 'door_seen', place, NOW)
  redis.call('HSETNX', P .. 'door_called', place, called_ms)
  return { 'crowded' }
end

redis.call('ZREM', P .. 'line', place)
leave_door(place)
if cohort and called_ms == of_cohort then redis.call('HINCRBY', P .. 'claims', cohort, 1) end
local sid = add('sid', 1)
local until_ms = NOW + tonumber(v[3])
start_session(place, sid, n, until_ms)
return { 'ok', sid, until_ms, called_ms, NOW }
