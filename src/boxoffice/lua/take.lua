-- hold: seats by name, or the best there are; all or none, checked and taken in this one step.
-- ARGV: run_id, place, sid, issued_ms, until_ms, number (from the admission), mode, then
--   'named': the seats' indices  |  'best': how many, together (1|0), then first,rows,seats_per_row a section
-- Returns ok,hold,until_ms,now,left,{seats} | taken,{gone} | short | cap,max,have | limited,retry_ms | over
--       | not_admitted | superseded
local bad = stranger()
if bad then return bad end
local place = ARGV[2]
local why = refused_entry(place, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6])
if why then return { why } end
if phase() ~= 'open' then return { 'over' } end
local no, left, retry = limited('hold:' .. place, 60, 30)
if no then return { 'limited', retry } end

local v = get('max_seats', 'hold_ms')
local have = tonumber(redis.call('HGET', P .. 'count', place)) or 0
local want = ARGV[7] == 'named' and (#ARGV - 7) or tonumber(ARGV[8])
if have + want > tonumber(v[1]) then return { 'cap', tonumber(v[1]), have } end

local function named()
  local seats, gone = {}, {}
  for i = 8, #ARGV do seats[#seats + 1] = tonumber(ARGV[i]) end
  for i, state in ipairs(seat_states(seats)) do
    if state ~= FREE then gone[#gone + 1] = seats[i] end
  end
  return seats, gone
end

local map = nil

-- A section's states, as a function of the seat's index; the map is read once, a section at a time.
local function reader(first, size)
  local from = math.floor(first / 4)
  map = redis.call('GETRANGE', P .. 'map', from, math.floor((first + size - 1) / 4))
  return function(seat)
    local byte = string.byte(map, math.floor(seat / 4) - from + 1) or 0
    return math.floor(byte / 4 ^ (3 - seat % 4)) % 4
  end
end

-- n seats side by side: the front row that has them, as near to its middle as can be.
local function together(first, rows, width, n)
  local state = reader(first, rows * width)
  for row = 0, rows - 1 do
    local run, best, distance = 0, nil, nil
    for seat = first + row * width, first + (row + 1) * width - 1 do
      run = state(seat) == FREE and run + 1 or 0
      if run >= n then
        local off = math.abs((seat - n + 1 + seat) - (2 * (first + row * width) + width - 1))
        if not distance or off < distance then best, distance = seat - n + 1, off end
      end
    end
    if best then
      local seats = {}
      for i = 0, n - 1 do seats[#seats + 1] = best + i end
      return seats
    end
  end
  return nil
end

-- The lowest free ones of a section, added to `seats` until there are n.
local function anywhere(first, size, n, seats)
  local state = reader(first, size)
  local seat, last = first, first + size - 1
  while seat <= last and #seats < n do
    if state(seat) == FREE then seats[#seats + 1] = seat end
    seat = seat + 1
  end
end

local function best()
  local n, side_by_side, seats = tonumber(ARGV[8]), ARGV[9] == '1', {}
  for i = 10, #ARGV, 3 do
    local first, rows, width = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    if not side_by_side then
      anywhere(first, rows * width, n, seats)
    else
      local found = together(first, rows, width, n)
      if found then return found end
    end
    if #seats == n then return seats end
  end
  return nil
end

local seats, gone
if ARGV[7] == 'named' then
  seats, gone = named()
  if #gone > 0 then
    add('contested', 1)
    return { 'taken', gone }
  end
else
  seats = best()
  if not seats then return { 'short' } end
end
local id = tostring(add('fence', 1))
local session_until = tonumber(redis.call('ZSCORE', P .. 'sessions', place))
local until_ms = math.min(NOW + tonumber(v[2]), session_until)
write_hold(id, { place = place, state = 'held', until_ms = until_ms, seats = seats, tries = 0 })
redis.call('ZADD', P .. 'hold_until', until_ms, id)
remember_hold(place, id)
count_seats(place, #seats)
set_seats(seats, HELD, 'h' .. id)
return { 'ok', id, until_ms, NOW, left, seats }
