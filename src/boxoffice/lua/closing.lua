-- What tells whether the sale is over for good: an override can be taken back, so it does not count.
-- ARGV: run_id
-- Returns ok,now,closes_ms,policy of the resource,what is not settled yet: live holds, seats being paid for, orders
--         to be published
local bad = stranger()
if bad then return bad end

local v = get('closes_ms', 'policy', 'paying')
local open = redis.call('ZCOUNT', P .. 'hold_until', NOW, '+inf') + tonumber(v[3]) + redis.call('ZCARD', P .. 'unpublished')
return { 'ok', NOW, tonumber(v[1]), v[2], open }
