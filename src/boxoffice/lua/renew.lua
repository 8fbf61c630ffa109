-- Looks whether the log is the one it was; if it was made anew, every order that is accepted and not settled is
-- published again. Some time later once more: what the old log took last may have been marked as published since.
-- ARGV: run_id, id of the log, ms until the second time, 1 if there was another log before this sale was looked at
-- Returns ok,orders to publish
local bad = stranger()
if bad then return bad end
local v = get('log_id', 'log_again_ms')
local known, second = v[1], tonumber(v[2])
if known == ARGV[2] and not (second and NOW >= second) then return { 'ok', 0 } end
redis.call('HSET', SALE, 'log_id', ARGV[2])
redis.call('HDEL', SALE, 'log_again_ms')
if not known and ARGV[4] == '0' then return { 'ok', 0 } end
if known ~= ARGV[2] then redis.call('HSET', SALE, 'log_again_ms', NOW + tonumber(ARGV[3])) end

local again = 0
for _, packed in ipairs(redis.call('HVALS', P .. 'holds')) do
  local hold = cmsgpack.unpack(packed)
  local key = P .. 'order:' .. (hold.order or '')
  if hold.state == 'paying' and redis.call('HGET', key, 'state') == 'accepted' then
    redis.call('HDEL', key, 'partition', 'offset')
    redis.call('ZADD', P .. 'unpublished', NOW, hold.order)
    again = again + 1
  end
end
return { 'ok', again }
