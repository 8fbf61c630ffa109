-- Removes a sale from Redis, some keys a call. The ledger keeps its orders. A mark of one hour tells the pods that
-- it is gone on purpose.
-- ARGV: run_id, keys to remove beside the fixed ones ...
-- Returns ok
for i = 2, #ARGV do redis.call('DEL', ARGV[i]) end
for _, name in ipairs({ 'spec', 'line', 'session', 'sessions', 'overstay', 'busy', 'door', 'door_seen', 'door_called',
  'calls', 'cohort', 'claims', 'map', 'owner', 'holds', 'hold_until', 'mine', 'count', 'unpublished', 'events', 'witness' }) do
  redis.call('UNLINK', P .. name)
end
redis.call('DEL', SALE)
redis.call('SET', P .. 'dropped', 1, 'EX', 3600)
return { 'ok' }
