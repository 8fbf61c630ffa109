-- unguarded: the log is not a sale
-- Appends one record to a partition; its offset is the next of a dense count.
-- KEYS[1] meta hash, KEYS[2] ends hash, KEYS[3] prefix of the streams (all under one hash tag)
-- ARGV[1] hash of the key, ARGV[2] key, ARGV[3] value, ARGV[4] most records a partition may hold, ARGV[5] gap,
-- ARGV[6] run_id of the server on this connection, ARGV[7] headers (MessagePack) or nothing
-- Returns {'ok', partition, offset} | {'closed'} no such log yet | {'full'}
local meta = redis.call('HMGET', KEYS[1], 'partitions', 'run')
if not meta[1] then return {'closed'} end
local partitions = tonumber(meta[1])
local partition = string.format('%d', tonumber(ARGV[1]) % partitions)
local stream = KEYS[3] .. partition
if redis.call('XLEN', stream) >= tonumber(ARGV[4]) then return {'full'} end

-- A restarted server may have forgotten its last second: the offsets of that second are never given again. It may
-- have forgotten that this partition was ever written to, so the first life is that of the log itself.
local run = ARGV[6]
local seen = redis.call('HMGET', KEYS[2], partition, partition .. ':run')
local offset = tonumber(seen[1] or '0')
if (seen[2] or meta[2]) ~= run then offset = offset + tonumber(ARGV[5]) end
local now = redis.call('TIME')
local at = string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('HSET', KEYS[2], partition, string.format('%d', offset + 1), partition .. ':run', run)
local fields = { 'k', ARGV[2], 'v', ARGV[3], 't', at }
if ARGV[7] ~= '' then fields[7], fields[8] = 'h', ARGV[7] end
redis.call('XADD', stream, string.format('%d-0', offset + 1), unpack(fields))
return {'ok', tonumber(partition), offset}
