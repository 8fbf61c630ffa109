-- Writes what the resource says into the sale's record; makes the record when there is none.
-- ARGV: run_id, writer ('' keeps the present one), uid, seating digest, total seats, spec (JSON),
--       adopt (1: the ledger knows orders of this sale, so its memory is rebuilt before it goes on), initial target,
--       then name,value pairs of the record
-- Returns ok,created | seating_fixed | old_writer,present | other_uid
local have = get('run_id', 'uid', 'writer', 'digest', 'epoch', 'mode')
if have[1] and have[1] ~= ARGV[1] then return { 'recovering' } end
local writer, uid, digest, total = tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
if have[1] then
  if have[2] ~= uid then return { 'other_uid' } end
  if writer and writer < tonumber(have[3]) then return { 'old_writer', tonumber(have[3]) } end
  if have[4] ~= digest and have[5] ~= '1' then return { 'seating_fixed' } end
end

local function lay_out()
  empty_house(total)
  redis.call('HSET', SALE, 'digest', digest)
  add('map_v', 1)
end

if not have[1] then
  blank_record()
  redis.call('HSET', SALE, 'uid', uid, 'run_id', ARGV[7] == '1' and 'adopt' or ARGV[1], 'epoch', 1,
    'last_ms', NOW, 'override', '', 'content', '', 'target', ARGV[8])
  lay_out()
elseif have[4] ~= digest then
  lay_out()
end
if have[5] == '1' then
  redis.call('HSET', SALE, 'target', ARGV[8])
  redis.call('HDEL', SALE, 'decided_ms')
end
if writer then redis.call('HSET', SALE, 'writer', writer) end
redis.call('HDEL', SALE, 'orphaned_ms')
redis.call('SET', P .. 'spec', ARGV[6])
for i = 9, #ARGV, 2 do redis.call('HSET', SALE, ARGV[i], ARGV[i + 1]) end
local v = get('target', 'min_active', 'max_active', 'mode')
if v[4] ~= have[6] then redis.call('HDEL', SALE, 'decided_ms', 'stop_ms') end -- another mode begins anew
redis.call('HSET', SALE, 'target', math.max(tonumber(v[2]), math.min(tonumber(v[3]), tonumber(v[1]))))
add('spec_v', 1)
return { 'ok', have[1] and 0 or 1 }
