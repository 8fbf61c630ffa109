-- unguarded: the log is not a sale
-- One heartbeat of a consumer: stays a member, keeps its partitions, takes free ones up to its even share.
-- KEYS[1] meta hash, KEYS[2] members (sorted by when they expire), KEYS[3] leases hash partition -> member
-- ARGV[1] member, ARGV[2] milliseconds until a silent member is gone
-- Returns {'ok', log id, how many to give up, partition...} | {'closed'} no such log yet
local log = redis.call('HMGET', KEYS[1], 'id', 'partitions')
if not log[2] then return {'closed'} end
local me, partitions = ARGV[1], tonumber(log[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), me)

local members, alive, rank = redis.call('ZRANGE', KEYS[2], 0, -1), {}, 0
for _, member in ipairs(members) do
  alive[member] = true
  if member < me then rank = rank + 1 end
end
local share = math.floor(partitions / #members)
if rank < partitions % #members then share = share + 1 end

local mine, free = {}, {}
for partition = 0, partitions - 1 do
  local owner = redis.call('HGET', KEYS[3], partition)
  if owner == me then
    mine[#mine + 1] = partition
  elseif not owner or not alive[owner] then
    free[#free + 1] = partition
  end
end
for _, partition in ipairs(free) do
  if #mine >= share then break end
  redis.call('HSET', KEYS[3], partition, me)
  mine[#mine + 1] = partition
end
return {'ok', log[1], math.max(0, #mine - share), unpack(mine)}
