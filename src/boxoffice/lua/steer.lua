-- What the operator decides, taken from the one whose turn it is.
-- ARGV: run_id, writer, then name,value pairs of the record
-- Returns ok | old_writer,present
local bad = stranger()
if bad then return bad end
local present = number('writer')
if tonumber(ARGV[2]) < present then return { 'old_writer', present } end
redis.call('HSET', SALE, 'writer', ARGV[2])
for i = 3, #ARGV, 2 do redis.call('HSET', SALE, ARGV[i], ARGV[i + 1]) end
return { 'ok' }
