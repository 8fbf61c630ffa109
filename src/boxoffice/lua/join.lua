-- enter: a place gets its number. Joining twice gives the same number.
-- ARGV: run_id, place, address, proof ('' or a digest that may be spent once)
-- Returns ok,number,new,epoch,now,left | early,prequeue_ms,now | over | joining_closed | limited,retry_ms | full | spent
local bad = stranger()
if bad then return bad end
local place, address, proof = ARGV[2], ARGV[3], ARGV[4]
local v = get('epoch', 'max_waiting', 'joins_pm', 'prequeue_ms')

local mine = redis.call('ZSCORE', P .. 'line', place)
if not mine then
  local session = redis.call('HGET', P .. 'session', place)
  mine = session and string.match(session, ':(%d+)$')
end
local stage = phase()
if stage == 'closed' then return { 'over' } end
if mine then
  local no, left, retry = limited('again:' .. place, 60, 30)
  if no then return { 'limited', retry } end
  return { 'ok', tonumber(mine), 0, tonumber(v[1]), NOW, left }
end

if stage == 'scheduled' then return { 'early', tonumber(v[4]), NOW } end
if STRICTNESS[policy()] >= STRICTNESS.Drain then return { 'joining_closed' } end
local no, left, retry = limited('join:' .. address, tonumber(v[3]), tonumber(v[3]))
if no then return { 'limited', retry } end
if redis.call('ZCARD', P .. 'line') >= tonumber(v[2]) then return { 'full' } end
if proof ~= '' and not redis.call('SET', P .. 'proof:' .. proof, 1, 'NX', 'PX', 900000) then
  return { 'spent' }
end
local n = add('issued', 1)
redis.call('ZADD', P .. 'line', n, place)
return { 'ok', n, 1, tonumber(v[1]), NOW, left }
