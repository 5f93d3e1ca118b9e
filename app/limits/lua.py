"""The same arithmetic as in ``gcra.py``, where several processes share it: Redis runs each script as one step.

Times and spans come and go as whole microseconds below 2**53, which Lua's doubles hold exactly; what needs a division
is computed by the caller. ``%.0f`` writes them, because Lua's own conversion keeps 14 digits.

Keys: first the hash with a caller's buckets (for each dimension its ``tat`` and, under the name with an ``s``, its
``since``), then the sorted set of its requests under way by the end of their leases. An empty first argument asks for
Redis's own clock, the only one that all processes share.
"""

from __future__ import annotations

from typing import Final

from app.limits.gcra import MAX_TAT

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
-- ARGV: now, lease's id ('' for none), lease, most under way (0 for no limit), then per dimension: name, period, span
-- Answers: now, 1 or 0, how many are under way, then per dimension: tat, since
local id, lease, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local names, fields = {}, {}
for i = 5, #ARGV, 3 do
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
  local tat = tonumber(known[2 * i - 1] or 0)
  if math.max(tat, now) + tonumber(ARGV[3 * i + 4]) - now > tonumber(ARGV[3 * i + 3]) then fits = false end
end
local reply, values, latest = {now, fits and 1 or 0, running}, {}, now
for i = 1, #names do
  local tat, since = tonumber(known[2 * i - 1] or 0), tonumber(known[2 * i] or 0)
  if fits then
    tat, since = charged(tat, since, tonumber(ARGV[3 * i + 4]))
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
    + """
-- ARGV: now, lease's id, 1 to do nothing unless the lease is still there, then per dimension: name, more, since
-- ``more`` is the span to charge; below zero it is put back, if the bucket has not been full since.
local had = redis.call('ZREM', KEYS[2], ARGV[2])
if ARGV[3] == '1' and had == 0 then return 0 end
local values, latest = {}, now
for i = 4, #ARGV, 3 do
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
