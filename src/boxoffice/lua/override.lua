-- In an emergency: a policy that stands beside the resource; the stricter of the two wins.
-- ARGV: run_id, policy ('' takes the override back), who, why, until_ms (0: until taken back),
--       the resource's annotation that says so (absent when this comes from elsewhere)
-- Returns ok,policy in force
local bad = stranger()
if bad then return bad end
redis.call('HSET', SALE, 'override', ARGV[2], 'override_who', ARGV[3], 'override_why', ARGV[4],
  'override_until', ARGV[5], 'override_at', NOW)
if ARGV[6] then redis.call('HSET', SALE, 'override_seen', ARGV[6]) end
return { 'ok', policy() }
