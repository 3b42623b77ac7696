-- The limits of several machines: every operation on them, each one atomic.
--
-- Invariants: the arithmetic is that of vai.policy.limits, figure by figure; a lease lapses unless
-- its holder renews it, and unused keys expire. No process has to sweep them.
--
--   {prefix}:slot       the latest slot of time that any worker saw
--   {prefix}:s:<name>   a principal's windows and levels
--   {prefix}:names      principals by when they expire, to list them all
--   {prefix}:l:<handle> a lease
--   {prefix}:r:<name>   a principal's running requests, by when they lapse; {prefix}:v: its sessions
--   {prefix}:o:<owner>  the leases of a worker, by when they lapse: the source of truth
--   {prefix}:owners     workers, by when the last of their leases lapses
--   {prefix}:gone:<owner>  a worker that no longer gets a lease
--   {prefix}:x:<handle>  a session that the script ended, so that its holder can read this
--
-- KEYS[1] is the tag that begins all keys. ARGV: the operation, its arguments, the worker's clock
-- where that counts in place of the server's (in tests), and milliseconds of a lease.

local TAG = KEYS[1]
local SECONDS, SLOTS, MILLI, BURST_SECONDS = 5, 13, 1000, 5
local EPOCH, REQUEST_LEVEL, TOKEN_LEVEL, LEVEL_AT, REQUESTS, TOKENS = 1, 2, 3, 4, 5, 18
local WORDS = TOKENS + SLOTS - 1
local KIND, OWNER, RESERVED, SLOT, SINCE, BEAT, NAMES = 1, 2, 3, 4, 5, 6, 7
local REQUEST, SESSION = 1, 2
local RETRY_SECONDS, MANY = 1, 2 ^ 52
local ROW_TTL, GRACE = 70000, 5000 -- ms: the span of a window; added to a lease, for steps of clocks
local GONE_TTL, SLOT_TTL = 3600, 3600 -- s
local PAGE = 500

local floor, max, min = math.floor, math.max, math.min
local call = redis.call
local time = call('TIME')
local clock_ms = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
if ARGV[3] ~= '' then now = cmsgpack.unpack(ARGV[3]) end
local lease_ms = tonumber(ARGV[4])

local function current_slot()
  local slot = floor(floor(now) / SECONDS)
  local latest = tonumber(call('GET', TAG .. ':slot'))
  if latest and latest >= slot then return latest end
  call('SET', TAG .. ':slot', slot, 'EX', SLOT_TTL)
  return slot
end

-- Windows ---------------------------------------------------------------------------------

local function read_row(name, slot)
  local packed = call('GET', TAG .. ':s:' .. name)
  local row
  if packed then
    row = cmsgpack.unpack(packed)
  else
    row = {slot}
    for word = 2, WORDS do row[word] = 0 end
  end
  for number = max(row[EPOCH], slot - SLOTS) + 1, slot do
    row[REQUESTS + number % SLOTS] = 0
    row[TOKENS + number % SLOTS] = 0
  end
  row[EPOCH] = max(row[EPOCH], slot)
  return row
end

local function list_name(name)
  call('ZADD', TAG .. ':names', clock_ms + ROW_TTL, name)
  call('PEXPIRE', TAG .. ':names', ROW_TTL)
end

local function write_row(name, row)
  call('SET', TAG .. ':s:' .. name, cmsgpack.pack(row), 'PX', ROW_TTL)
  list_name(name)
end

local function window_sum(row, first)
  local sum = 0
  for word = first, first + SLOTS - 1 do sum = sum + row[word] end
  return sum
end

local function seconds_until_reset(row, first, slot)
  for number = slot, slot - SLOTS + 1, -1 do
    if row[first + number % SLOTS] ~= 0 then return max(0, (number + SLOTS) * SECONDS - now) end
  end
  return 0
end

local function seconds_until_room(row, first, slot, cost, limit)
  local excess = window_sum(row, first) + min(cost, limit) - limit
  if excess <= 0 then return 0 end
  for number = slot - SLOTS + 1, slot do
    excess = excess - row[first + number % SLOTS]
    if excess <= 0 then return max(0, (number + SLOTS) * SECONDS - now) end
  end
  return seconds_until_reset(row, first, slot)
end

-- Spacing ---------------------------------------------------------------------------------

local function drained_level(row, level, limit)
  local elapsed = max(0, floor(now * 1000) - row[LEVEL_AT])
  return max(0, row[level] - floor(elapsed * limit / 60))
end

local function seconds_until_spaced(level, cost, limit)
  local burst = max(MILLI, floor(limit * MILLI * BURST_SECONDS / 60))
  local excess = level - max(0, burst - cost * MILLI)
  if excess <= 0 then return 0 end
  return (floor(excess * 60 / limit) + 2) / 1000
end

local function waits(row, principal, tokens)
  local requests, allowance = 0, 0
  if principal.requests > 0 then
    local level = drained_level(row, REQUEST_LEVEL, principal.requests)
    requests = seconds_until_spaced(level, 1, principal.requests)
  end
  if principal.tokens > 0 and tokens > 0 then
    local level = drained_level(row, TOKEN_LEVEL, principal.tokens)
    allowance = seconds_until_spaced(level, tokens, principal.tokens)
  end
  return requests, allowance
end

local function raise_levels(row, principal, tokens)
  local requests = drained_level(row, REQUEST_LEVEL, principal.requests)
  local allowance = drained_level(row, TOKEN_LEVEL, principal.tokens)
  row[LEVEL_AT] = max(floor(now * 1000), row[LEVEL_AT])
  row[REQUEST_LEVEL] = principal.requests > 0 and requests + MILLI or 0
  row[TOKEN_LEVEL] = principal.tokens > 0 and allowance + tokens * MILLI or 0
end

-- Leases ----------------------------------------------------------------------------------

local function holders_key(kind, name)
  return TAG .. (kind == SESSION and ':v:' or ':r:') .. name
end

local function count_held(kind, name)
  local key = holders_key(kind, name)
  call('ZREMRANGEBYSCORE', key, '-inf', clock_ms)
  return call('ZCARD', key)
end

local function add_expiring(key, member)
  call('ZADD', key, clock_ms + lease_ms, member)
  call('PEXPIRE', key, lease_ms + GRACE)
end

local function write_lease(handle, lease)
  call('SET', TAG .. ':l:' .. handle, cmsgpack.pack(lease), 'PX', lease_ms + GRACE)
  add_expiring(TAG .. ':o:' .. lease[OWNER], handle)
  add_expiring(TAG .. ':owners', lease[OWNER])
  for _, name in ipairs(lease[NAMES]) do add_expiring(holders_key(lease[KIND], name), handle) end
end

local function find_lease(handle)
  local packed = call('GET', TAG .. ':l:' .. handle)
  if not packed then return nil end
  local lease = cmsgpack.unpack(packed)
  local lapses = tonumber(call('ZSCORE', TAG .. ':o:' .. lease[OWNER], handle))
  if not lapses or lapses <= clock_ms then return nil end
  return lease
end

local function free_lease(handle, lease)
  call('DEL', TAG .. ':l:' .. handle)
  call('ZREM', TAG .. ':o:' .. lease[OWNER], handle)
  for _, name in ipairs(lease[NAMES]) do call('ZREM', holders_key(lease[KIND], name), handle) end
end

local function leases_of(owner)
  return call('ZRANGEBYSCORE', TAG .. ':o:' .. owner, '(' .. clock_ms, '+inf')
end

local function is_gone(owner)
  return call('EXISTS', TAG .. ':gone:' .. owner) == 1
end

-- Decisions -------------------------------------------------------------------------------

local function refusal(kind, principals, tokens, slot)
  local longest, refused, by = -1, 'capacity', ''
  local tightest = {{0, 0, 0}, {0, 0, 0}}
  for _, principal in ipairs(principals) do
    local row = principal.row
    local spaced = {0, 0}
    if principal.smooth then spaced = {waits(row, principal, tokens)} end
    for which, window in ipairs({
      {'requests', principal.requests, REQUESTS, 1}, {'tokens', principal.tokens, TOKENS, tokens},
    }) do
      local limit, first, cost = window[2], window[3], window[4]
      if limit > 0 then
        local left = limit - window_sum(row, first)
        if tightest[which][1] == 0 or left < tightest[which][2] then
          tightest[which] = {limit, left, seconds_until_reset(row, first, slot)}
        end
        if cost > 0 and (left < cost or spaced[which] > 0) then
          local wait = max(spaced[which], seconds_until_room(row, first, slot, cost, limit))
          if wait > longest then longest, refused, by = wait, window[1], principal.name end
        end
      end
    end
    local most = kind == SESSION and principal.sessions or principal.concurrency
    if most > 0 and principal.held >= most and longest < RETRY_SECONDS then
      longest, by = RETRY_SECONDS, principal.name
      refused = kind == SESSION and 'sessions' or 'concurrency'
    end
  end
  local requests, allowance = tightest[1], tightest[2]
  return {
    false, refused, by, longest,
    requests[1], max(0, requests[2]), requests[3], allowance[1], max(0, allowance[2]), allowance[3],
  }
end

local function charge(principals, tokens, slot)
  local index = slot % SLOTS
  for _, principal in ipairs(principals) do
    local row = principal.row
    row[REQUESTS + index] = row[REQUESTS + index] + 1
    row[TOKENS + index] = row[TOKENS + index] + tokens
    if principal.smooth then raise_levels(row, principal, tokens) end
    write_row(principal.name, row)
  end
end

local function decide(kind, principals, tokens, slot)
  local request_limit, request_room, token_limit, token_room = 0, MANY, 0, MANY
  local blocked = false
  for _, principal in ipairs(principals) do
    local row = principal.row
    local room = principal.requests - window_sum(row, REQUESTS)
    if principal.requests > 0 and room < request_room then
      request_limit, request_room = principal.requests, room
    end
    room = principal.tokens - window_sum(row, TOKENS)
    if principal.tokens > 0 and room < token_room then
      token_limit, token_room = principal.tokens, room
    end
    local most = kind == SESSION and principal.sessions or principal.concurrency
    if most > 0 and principal.held >= most then blocked = true end
    if principal.smooth then
      local requests, allowance = waits(row, principal, tokens)
      if requests > 0 or allowance > 0 then blocked = true end
    end
  end
  if blocked or request_room <= 0 or (tokens > 0 and token_room < tokens) then
    return refusal(kind, principals, tokens, slot)
  end
  charge(principals, tokens, slot)
  local reset = (slot + SLOTS) * SECONDS - now
  return {
    true, '', '', 0,
    request_limit, request_limit > 0 and request_room - 1 or 0, request_limit > 0 and reset or 0,
    token_limit, token_limit > 0 and max(0, token_room - tokens) or 0,
    token_limit > 0 and reset or 0,
  }
end

local function reservation(tokens, principals)
  for _, principal in ipairs(principals) do
    if principal.tokens > 0 then tokens = min(tokens, principal.tokens) end
  end
  return tokens
end

-- Charges the window with the use beyond the reservation, or refunds the unused reservation to the
-- slot that was charged. A window that was lost meanwhile refunds nothing.
local function correct_charge(lease, excess, slot)
  local into = excess > 0 and slot or lease[SLOT]
  for _, name in ipairs(lease[NAMES]) do
    local row = read_row(name, slot)
    if into > slot - SLOTS then
      local word = TOKENS + into % SLOTS
      row[word] = max(0, row[word] + excess)
    end
    if row[TOKEN_LEVEL] > 0 then row[TOKEN_LEVEL] = max(0, row[TOKEN_LEVEL] + excess * MILLI) end
    write_row(name, row)
  end
end

-- Operations ------------------------------------------------------------------------------

local operations = {}

-- handle, kind, owner, {name, requests, tokens, concurrency, sessions, smooth}..., tokens
function operations.take(handle, kind, owner, limits, tokens)
  if is_gone(owner) then return {false, 'capacity', '', 1, 0, 0, 0, 0, 0, 0} end
  local slot, principals, names = current_slot(), {}, {}
  for index, one in ipairs(limits) do
    names[index] = one[1]
    principals[index] = {
      name = one[1], requests = one[2], tokens = one[3], concurrency = one[4], sessions = one[5],
      smooth = one[6], row = read_row(one[1], slot), held = count_held(kind, one[1]),
    }
  end
  call('ZREMRANGEBYSCORE', TAG .. ':names', '-inf', clock_ms)
  local decision = decide(kind, principals, tokens, slot)
  if decision[2] == 'tokens' and reservation(tokens, principals) < tokens then
    tokens = reservation(tokens, principals)
    decision = decide(kind, principals, tokens, slot)
  end
  if decision[1] then
    local now_ms = floor(now * 1000)
    call('ZREMRANGEBYSCORE', TAG .. ':o:' .. owner, '-inf', clock_ms)
    write_lease(handle, {kind, owner, tokens, slot, now_ms, now_ms, names})
  end
  return decision
end

-- {handle, tokens used (negative: they stay as charged), clock or false}...; whether it was held
function operations.give_back(returned)
  local done, clock = {}, now
  for index, one in ipairs(returned) do
    local handle, used = one[1], one[2]
    now = one[3] or clock
    local lease = find_lease(handle)
    if lease and used >= 0 and lease[KIND] ~= REQUEST then lease = nil end
    if lease then
      if used >= 0 and used ~= lease[RESERVED] then
        correct_charge(lease, used - lease[RESERVED], current_slot())
      end
      free_lease(handle, lease)
    end
    done[index] = lease ~= nil
  end
  return done
end

function operations.heartbeat(handle)
  local lease = find_lease(handle)
  if not lease then return false end
  lease[BEAT] = floor(now * 1000)
  write_lease(handle, lease)
  return true
end

-- Renews the leases of these handles; returns the handles that are no longer held.
function operations.renew(handles)
  local lapsed = {}
  for _, handle in ipairs(handles) do
    local lease = find_lease(handle)
    if lease then
      write_lease(handle, lease)
      for _, name in ipairs(lease[NAMES]) do list_name(name) end
    else
      lapsed[#lapsed + 1] = handle
    end
  end
  return lapsed
end

-- {handle, kind, names, seconds since it began}...: leases that a worker holds and that this server
-- lost. They reserve nothing: their use is charged when they end. Returns the handles that stay
-- ended: sessions that expired without a heartbeat, and all of a dead worker.
function operations.register(owner, leases)
  local slot, now_ms, ended = current_slot(), floor(now * 1000), {}
  local gone = is_gone(owner)
  for _, one in ipairs(leases) do
    if gone or call('EXISTS', TAG .. ':x:' .. one[1]) == 1 then
      ended[#ended + 1] = one[1]
    elseif not find_lease(one[1]) then
      write_lease(one[1], {one[2], owner, 0, slot, now_ms - floor(one[4] * 1000), now_ms, one[3]})
      for _, name in ipairs(one[3]) do list_name(name) end
    end
  end
  return ended
end

function operations.reclaim(owner)
  call('SET', TAG .. ':gone:' .. owner, 1, 'EX', GONE_TTL)
  local count = 0
  for _, handle in ipairs(leases_of(owner)) do
    local lease = find_lease(handle)
    if lease then
      free_lease(handle, lease)
      count = count + 1
    end
  end
  return count
end

function operations.owners()
  call('ZREMRANGEBYSCORE', TAG .. ':owners', '-inf', clock_ms)
  return call('ZRANGE', TAG .. ':owners', 0, -1)
end

-- The leases of one worker, and the time now.
function operations.held(owner)
  local found = {}
  for _, handle in ipairs(leases_of(owner)) do
    local lease = find_lease(handle)
    if lease then
      found[#found + 1] = {
        handle, lease[KIND], lease[NAMES], lease[RESERVED], lease[SINCE], lease[BEAT],
      }
    end
  end
  return {now, found}
end

-- Sessions of one worker without a heartbeat for so many seconds (or, with a clock that was passed
-- in, since that time).
function operations.expire(owner, silent)
  local before, freed = floor(silent * 1000), {}
  if ARGV[3] == '' then before = floor((now - silent) * 1000) end
  for _, handle in ipairs(leases_of(owner)) do
    local lease = find_lease(handle)
    if lease and lease[KIND] == SESSION and lease[BEAT] < before then
      free_lease(handle, lease)
      call('SET', TAG .. ':x:' .. handle, 1, 'PX', 2 * lease_ms + GRACE)
      freed[#freed + 1] = handle
    end
  end
  return freed
end

-- A page of principals: name, running, sessions, requests, tokens.
function operations.principals(from)
  local slot, found = current_slot(), {}
  call('ZREMRANGEBYSCORE', TAG .. ':names', '-inf', clock_ms)
  for _, name in ipairs(call('ZRANGE', TAG .. ':names', from, from + PAGE - 1)) do
    local row = read_row(name, slot)
    found[#found + 1] = {
      name, count_held(REQUEST, name), count_held(SESSION, name),
      window_sum(row, REQUESTS), window_sum(row, TOKENS),
    }
  end
  return found
end

function operations.ping()
  return true
end

-- The server's policy when its memory is full; '' where it does not report it.
function operations.policy()
  local info = redis.pcall('INFO', 'memory')
  return type(info) == 'string' and string.match(info, 'maxmemory_policy:([%w-]+)') or ''
end

return cmsgpack.pack(operations[ARGV[1]](unpack(cmsgpack.unpack(ARGV[2]))))
