-- unguarded: the log is not a sale
-- A consumer gives partitions back; with none named it leaves for good.
-- KEYS[1] members, KEYS[2] leases hash   ARGV[1] member, ARGV[2...] partitions
-- Returns how many were given back
local given, leases = 0, {}
for i = 2, #ARGV do leases[#leases + 1] = ARGV[i] end
if #leases == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  leases = redis.call('HKEYS', KEYS[2])
end
for _, partition in ipairs(leases) do
  if redis.call('HGET', KEYS[2], partition) == ARGV[1] then
    given = given + redis.call('HDEL', KEYS[2], partition)
  end
end
return given
