"""The same arithmetic as in ``memory.py``, where several processes share it: Redis runs each script as one step.

Times, spans and costs come and go as whole numbers below 2**53, which Lua's doubles hold exactly; what needs a division
or a calendar is computed by the caller. ``%.0f`` writes them, because Lua's own conversion keeps 14 digits.

Keys: first the hash with an owner's buckets (for each dimension its ``tat`` and, under the name with an ``s``, its
``since``), then the sorted set of its requests under way by the end of their leases, then the hash with its budgets'
counters (for each its window, under the name with an ``n`` what was spent, and with an ``s`` when it was opened). An
empty first argument asks for Redis's own clock, the only one that all processes share.
"""

from __future__ import annotations

from typing import Final

from app.limits.gcra import MAX_TAT
from app.limits.spec import MAX_SPENT

_SHARED: Final = f"""
local now
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
else
  now = tonumber(ARGV[1])
end
local function whole(n) return string.format('%.0f', n) end
local function charged(tat, since, span)
  if tat <= now then return math.min(now + span, {MAX_TAT}), math.max(since + 1, now) end
  return math.min(tat + span, {MAX_TAT}), since
end
local function store(values, latest)
  redis.call('HSET', KEYS[1], unpack(values))
  redis.call('PEXPIRE', KEYS[1], whole(math.ceil(math.max(latest - now, 0) / 1000) + 1000))
end
"""

ADMIT: Final = (
    _SHARED
    + """
-- ARGV: now, lease's id ('' for none), lease, most under way (0 for no limit), cost, least cost that will do, how many
--   budgets, then per budget: name, window, limit, what to open it with ('' for not known), milliseconds to keep it;
--   then per dimension: name, period, span
-- Answers: now, 1 or 0 or (there are budgets to be opened: those with window -1) -1, how many are under way,
--   then per budget: window, spent, when it was opened, what was taken, then per dimension: tat, since
local id, lease, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local cost, least, budgets = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local first = 8 + 5 * budgets
local names, fields = {}, {}
for i = first, #ARGV, 3 do
  names[#names + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i] .. 's'
end
local known = #fields > 0 and redis.call('HMGET', KEYS[1], unpack(fields)) or {}
local running = 0
if id ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', whole(now))
  running = redis.call('ZCARD', KEYS[2])
end
local fits = most == 0 or running < most
for i = 1, #names do
  local at = first + 3 * (i - 1)
  local tat = tonumber(known[2 * i - 1] or 0)
  if math.max(tat, now) + tonumber(ARGV[at + 2]) - now > tonumber(ARGV[at + 1]) then fits = false end
end
local counters, counted, keep, unknown = {}, {}, 0, false
for i = 1, budgets do
  local at = 3 + 5 * i
  local name, window, limit = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local had = redis.call('HMGET', KEYS[3], name, name .. 'n', name .. 's')
  local counter = {tonumber(had[1] or -1), tonumber(had[2] or 0), tonumber(had[3] or 0), 0}
  if counter[1] < window then
    if ARGV[at + 3] == '' then
      counter[1] = -1
      unknown = true
    else
      counter = {window, tonumber(ARGV[at + 3]), math.max(counter[3] + 1, now), 0}
      counted = {name, whole(window), name .. 'n', whole(counter[2]), name .. 's', whole(counter[3]), unpack(counted)}
      keep = math.max(keep, tonumber(ARGV[at + 4]))
    end
  end
  if counter[2] + least > limit then fits = false end
  counters[i] = counter
end
if unknown then fits = false end
for i = 1, fits and budgets or 0 do
  local at, counter = 3 + 5 * i, counters[i]
  counter[4] = math.min(cost, tonumber(ARGV[at + 2]) - counter[2])
  counter[2] = counter[2] + counter[4]
  counted[#counted + 1] = ARGV[at] .. 'n'
  counted[#counted + 1] = whole(counter[2])
end
if #counted > 0 then
  redis.call('HSET', KEYS[3], unpack(counted))
  -- Never sooner than before: the month's counter is kept for longer than the day's.
  if keep > 0 then redis.call('PEXPIRE', KEYS[3], whole(math.max(keep, redis.call('PTTL', KEYS[3])))) end
end
local reply, values, latest = {now, unknown and -1 or fits and 1 or 0, running}, {}, now
for i = 1, budgets do
  for j = 1, 4 do reply[#reply + 1] = counters[i][j] end
end
for i = 1, #names do
  local tat, since = tonumber(known[2 * i - 1] or 0), tonumber(known[2 * i] or 0)
  if fits then
    tat, since = charged(tat, since, tonumber(ARGV[first + 3 * i - 1]))
    values[#values + 1] = names[i]
    values[#values + 1] = whole(tat)
    values[#values + 1] = names[i] .. 's'
    values[#values + 1] = whole(since)
    latest = math.max(latest, tat)
  end
  reply[#reply + 1] = tat
  reply[#reply + 1] = since
end
if fits then
  if #values > 0 then store(values, latest) end
  if id ~= '' then
    redis.call('ZADD', KEYS[2], whole(now + lease), id)
    redis.call('PEXPIRE', KEYS[2], whole(math.ceil(lease / 1000) + 1000))
    reply[3] = running + 1
  end
end
return reply
"""
)

SETTLE: Final = (
    _SHARED
    + f"local function count(n) return whole(math.min(math.max(n, 0), {MAX_SPENT})) end"
    + """
-- ARGV: now, lease's id, 1 to do nothing unless the lease is still there, how many budgets, then per budget: name,
--   window, when it was opened, what was taken, what was spent; then per dimension: name, more, since
-- ``more`` is the span to charge; below zero it is put back, if the bucket has not been full since.
local had = redis.call('ZREM', KEYS[2], ARGV[2])
if ARGV[3] == '1' and had == 0 then return 0 end
local first = 5 + 5 * tonumber(ARGV[4])
for i = 5, first - 1, 5 do
  local name = ARGV[i]
  local known = redis.call('HMGET', KEYS[3], name, name .. 'n', name .. 's')
  if tonumber(known[1] or -1) == tonumber(ARGV[i + 1]) then
    -- A counter that was opened since knows nothing of what was taken.
    local taken = tonumber(known[3]) == tonumber(ARGV[i + 2]) and tonumber(ARGV[i + 3]) or 0
    redis.call('HSET', KEYS[3], name .. 'n', count(tonumber(known[2]) + tonumber(ARGV[i + 4]) - taken))
  end
end
local values, latest = {}, now
for i = first, #ARGV, 3 do
  local name, more = ARGV[i], tonumber(ARGV[i + 1])
  local known = redis.call('HMGET', KEYS[1], name, name .. 's')
  local tat, since = tonumber(known[1] or 0), tonumber(known[2] or 0)
  local changed = true
  if more > 0 then
    tat, since = charged(tat, since, more)
  elseif since == tonumber(ARGV[i + 2]) and tat > now then
    tat = math.max(tat + more, now)
  else
    changed = false
  end
  if changed then
    values[#values + 1] = name
    values[#values + 1] = whole(tat)
    values[#values + 1] = name .. 's'
    values[#values + 1] = whole(since)
    latest = math.max(latest, tat)
  end
end
if #values > 0 then
  -- Never sooner than before: another dimension may be kept for longer.
  local left = redis.call('PTTL', KEYS[1])
  store(values, math.max(latest, now + (left - 1000) * 1000))
end
return 1
"""
)

RENEW: Final = (
    _SHARED
    + """
-- ARGV: now, lease, then the ids of leases that are held
local till = whole(now + tonumber(ARGV[2]))
for i = 3, #ARGV do redis.call('ZADD', KEYS[2], till, ARGV[i]) end
redis.call('PEXPIRE', KEYS[2], whole(math.ceil(tonumber(ARGV[2]) / 1000) + 1000))
return #ARGV - 2
"""
)
