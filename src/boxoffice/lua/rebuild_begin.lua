-- After Redis lost its memory: lays the house out anew and puts the line's counters where no number can be given
-- twice. The record's run_id says who rebuilds, on which life of the server, so nobody else can change the sale until
-- rebuild_end. Whoever begins after us ends our turn; so does another loss.
-- ARGV: run_id, who rebuilds, uid, seating digest, total seats, spec, initial target, issued, called, lapsed, epoch,
--       opened_ms (the ledger's checkpoint), the margin for numbers, then name,value pairs of the record
-- Returns ok,survived
local uid, digest, total, margin = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[13])
local survived = redis.call('HGET', SALE, 'uid') == uid

local function best(name, from_ledger)
  local seen = tonumber(redis.call('HGET', P .. 'witness', name)) or 0
  return math.max(number(name), seen, tonumber(from_ledger))
end

if not survived then
  redis.call('DEL', SALE)
  blank_record()
  redis.call('HSET', SALE, 'uid', uid, 'override', '', 'content', '', 'target', ARGV[7], 'last_ms', NOW)
  for i = 14, #ARGV, 2 do redis.call('HSET', SALE, ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', SALE, 'run_id', 'rebuilding:' .. ARGV[2] .. ARGV[1], 'digest', digest,
  'issued', best('issued', ARGV[8]) + margin, 'called', best('called', ARGV[9]),
  'lapsed', best('lapsed', ARGV[10]), 'lapsed_raw', best('lapsed_raw', ARGV[10]),
  'epoch', math.max(1, best('epoch', ARGV[11])), 'opened_ms', best('opened_ms', ARGV[12]),
  'sid', math.max(NOW, number('sid')), 'fence', math.max(NOW, number('fence')),
  'version', math.max(NOW, number('version')), 'map_v', math.max(NOW, number('map_v')),
  'spec_v', math.max(NOW, number('spec_v')))
redis.call('SET', P .. 'spec', ARGV[6], 'NX')
redis.call('DEL', P .. 'count', P .. 'busy', P .. 'overstay', P .. 'dropped')
empty_house(total)
return { 'ok', survived and 1 or 0 }
