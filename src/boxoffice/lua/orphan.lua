-- The resource of a sale is gone: nobody new joins or is let in until it is back, or until the sale is dropped.
-- ARGV: run_id, writer
-- Returns ok,since when (ms),now (ms) | old_writer,present
local bad = stranger()
if bad then return bad end
local present = number('writer')
if tonumber(ARGV[2]) < present then return { 'old_writer', present } end
redis.call('HSETNX', SALE, 'orphaned_ms', NOW)
return { 'ok', number('orphaned_ms'), NOW }
