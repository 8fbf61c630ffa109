-- The arithmetic of admission: functions of numbers, which know no sale and no Redis. Stands in front of the guard;
-- `boxoffice simulate` runs this very text.
local T_FILL = 10 -- seconds in which the gap between inside and target is closed

-- More than this many are never let in: whoever claims beyond it waits at the door.
local function most_inside(goal)
  return math.max(1, 1.1 * goal)
end

-- u = max(0, D + min((A* + D tau - A - E) / T_fill, fill_max)) / s, in buyers a second. What is bounded is how fast a
-- gap is filled: whoever leaves is made up for at any pace, and with whoever does not come.
local function calls_per_second(goal, inside, coming, departures, tau, share)
  local fill = (goal + departures * tau - inside - coming) / T_FILL
  return math.max(0, departures + math.min(fill, math.max(1, 2 * goal / T_FILL))) / share
end

-- Of a wish such as 3.7 the whole numbers that `most` allows, and what is carried to the next beat.
local function whole_calls(wish, most)
  local k = math.min(math.floor(wish), most)
  return k, math.min(1, math.max(0, wish - math.max(0, k)))
end

-- One more cohort is past its claim time; older ones count less, and small ones for longer.
local function learned(called, claimed, cohort, came)
  local kept = math.max(0.98, 1 - cohort / 200)
  return called * kept + cohort, claimed * kept + math.min(cohort, came)
end

-- The share of called buyers who come. Until something is known everybody does; five who came stand for that, and
-- are forgotten, or few would be inside for good where few come.
local function show_rate(called, claimed)
  local prior = 5 * math.exp(-called / 25)
  return math.max(0.2, math.min(1, (claimed + prior) / (called + prior)))
end

-- Buyers called lately who are still expected, and at least those knocking at the door.
local function still_coming(share, called, claimed, knocking)
  return math.max(0, share * called - claimed, knocking)
end

-- The mean claim delay of those who come, after one more has come.
local function claim_delay(tau, seconds)
  return tau + (seconds - tau) * 0.05
end

-- No more are called than there are seats for them, with 30 % to spare for those who do not buy.
local function seats_cap(free, ended, paid, seats, max_seats, inside, choosing, outstanding, share)
  local each = math.min(max_seats, (20 * 1.5 + seats) / (20 + paid)) * math.min(1, (20 * 0.8 + paid) / (20 + ended))
  local cap = math.ceil(1.3 * math.max(0, free - choosing * each) / each) - math.ceil(share * outstanding)
  if cap < 1 and free > 0 and inside == 0 and outstanding == 0 then cap = 1 end
  return cap
end

-- Departures a second and calls a second, smoothed; the spread of the pace makes the range of the ETA.
local function smoothed(departures, mean, spread, departed, calls, dt)
  local weight = 1 - math.exp(-dt / 20)
  local gap = calls / dt - mean
  return departures + (departed / dt - departures) * (1 - math.exp(-dt / 10)),
    mean + gap * weight,
    (1 - weight) * (spread + weight * gap * gap)
end

-- Calls a second, and by which share of it they may swing. The mean starts from nothing at the opening; without this
-- everybody would be told hours at first.
local function shown_pace(mean, spread, open_ms)
  mean = mean / (1 - math.exp(-math.max(1000, open_ms) / 20000))
  if mean <= 0 then return mean, 1 end
  return mean, math.max(0.1, math.min(1, math.sqrt(spread / 20) / mean))
end

-- What is left of a target that nobody has renewed for so long: it stands for two minutes, and then falls to the
-- fallback, half of what is above it each minute.
local function faded(goal, fallback, seconds)
  if seconds <= 120 or goal <= fallback then return goal end
  return fallback + (goal - fallback) * 2 ^ (-(seconds - 120) / 60)
end
