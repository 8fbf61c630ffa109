-- A buyer gives a hold back.
-- ARGV: run_id, place, hold
-- Returns ok | gone (not a hold of this place, or already paying)
local bad = stranger()
if bad then return bad end
local hold = read_hold(ARGV[3])
if not hold or hold.place ~= ARGV[2] or hold.state ~= 'held' then return { 'gone' } end
free_hold(ARGV[3], hold)
return { 'ok' }
