-- unguarded: the log is not a sale
-- Drops records that are settled and old. Of another log (the server was wiped) nothing is dropped.
-- KEYS[1] meta hash, KEYS[2] stream   ARGV[1] log id, ARGV[2] first offset to keep
-- Returns how many were dropped
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
return redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%d-0', tonumber(ARGV[2]) + 1))
