-- Writes orders as the ledger has them: what is paid is sold, what is unresolved keeps its seats.
-- ARGV: run_id, who rebuilds, then for each order: id, state, reason, place, hold, seats (comma list), placed_ms, method,
--       currency, fingerprint
-- Returns ok
if redis.call('HGET', SALE, 'run_id') ~= 'rebuilding:' .. ARGV[2] .. ARGV[1] then return { 'recovering' } end
for i = 3, #ARGV, 10 do
  local id, state, place, hold_id, seats = ARGV[i], ARGV[i + 1], ARGV[i + 3], ARGV[i + 4], split(ARGV[i + 5])
  local key = P .. 'order:' .. id
  if redis.call('EXISTS', key) == 0 then
    redis.call('RPUSH', P .. 'orders:' .. place, id)
    redis.call('HSET', key, 'place', place, 'hold', hold_id, 'seats', ARGV[i + 5], 'placed_ms', ARGV[i + 6],
      'method', ARGV[i + 7], 'currency', ARGV[i + 8], 'fingerprint', ARGV[i + 9], 'lease_ms', 0, 'sid', 0,
      'number', 0)
  end
  redis.call('HSET', key, 'state', state, 'reason', ARGV[i + 2])
  redis.call('ZREM', P .. 'unpublished', id)
  if state == 'paid' then
    set_seats(seats, SOLD, 'o' .. id)
    count_seats(place, #seats)
  elseif state == 'unresolved' and redis.call('HEXISTS', P .. 'holds', hold_id) == 0 then
    write_hold(hold_id, { place = place, state = 'paying', until_ms = NOW, seats = seats, tries = 0, order = id,
      rest_ms = 0, session_rest_ms = 0 })
  end
end
return { 'ok' }
