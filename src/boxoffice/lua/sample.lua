-- How a sale stands, all of it at one moment, for the ledger's samples.
-- ARGV: run_id
-- Returns ok,uid,{name,value,...}
local bad = stranger()
if bad then return bad end
local v = get('uid', 'called', 'mode', 'per_minute', 'ended', 'fence')
local waiting = redis.call('ZCARD', P .. 'line') - redis.call('ZCOUNT', P .. 'line', '-inf', v[2])
local out = { 'at_ms', NOW, 'stage', phase(), 'policy', policy(), 'waiting', waiting, 'active', active(),
  'target', math.floor(target()), 'per_minute', v[3] == 'Manual' and v[4] or 0,
  'claims', tonumber(v[5]) + redis.call('ZCARD', P .. 'sessions'), 'holds', v[6] }
for _, name in ipairs({ 'recovered_ms', 'issued', 'called', 'lapsed', 'held', 'paying', 'sold', 'contested', 'lapses',
  'expired_holds', 'expired_sessions' }) do
  out[#out + 1] = name
  out[#out + 1] = number(name)
end
return { 'ok', v[1], out }
