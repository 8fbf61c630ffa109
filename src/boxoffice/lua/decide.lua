-- How many buyers should be inside, as the operator decided from its signals; from the one whose turn it is.
-- ARGV: run_id, writer, target, for how long admission stops (ms, 0: not at all)
-- Returns ok | old_writer,present
local bad = stranger()
if bad then return bad end
local present = number('writer')
if tonumber(ARGV[2]) < present then return { 'old_writer', present } end
local v = get('min_active', 'max_active')
local goal = math.max(tonumber(v[1]), math.min(tonumber(v[2]), tonumber(ARGV[3])))
redis.call('HSET', SALE, 'writer', ARGV[2], 'target', goal, 'decided_ms', NOW)
if ARGV[4] ~= '0' then redis.call('HSET', SALE, 'stop_ms', NOW + tonumber(ARGV[4])) end
return { 'ok' }
