-- Coord: small values, counters and limits. Inside a unit changes are noted, and hold only while what was read is still so.
local host = host

local UNIT_BYTES = 7 << 20

local function propose(op)
  local _, result = host.write({}, {}, nil, false, {}, { op })
  return result
end

local function noting(u)
  if not u.coord then u.coord, u.coord_ifs, u.coord_bytes, u.values, u.values_read, u.counts = {}, {}, 0, {}, {}, {} end
  return u
end

local function note(u, op, bytes)
  u.coord_bytes = u.coord_bytes + (bytes or 0)
  if u.coord_bytes + (u.send_bytes or 0) > UNIT_BYTES then
    host.fail("too_large", "kv.put: over 7 MiB of values in one unit; put them in parts")
  end
  u.coord[#u.coord + 1] = op
end

function host.note_coord(u, op) note(noting(u), op) end

-- --- values ---

kv = {}

-- { value }, or {} of one that is removed, as a unit has left it; nil: it has not touched it.
local function view_of(u, key)
  while u do
    local view = u.values and u.values[key]
    if view then return view end
    u = u.outer
  end
end

local function read(u, key)
  local value, version = host.kv_get(key)
  noting(u)
  if not u.values_read[key] then
    u.values_read[key] = true
    u.coord_ifs[#u.coord_ifs + 1] = host.coord_value_is(key, version or 0)
  end
  return value, version
end

function kv.get(key)
  local u = host.unit()
  if not u then return host.kv_get(key) end
  local view = view_of(u, key)
  if view then return host.copy(view[1]) end
  return read(u, key)
end

function kv.put(key, value, options)
  local op, bytes = host.coord_put(key, value, options)
  local u = host.unit()
  if not u then return propose(op) end
  note(noting(u), op, bytes)
  u.values[key] = { host.copy(value) }
  u.coord_named = u.coord_named or options ~= nil and (options.if_version or options.nx or options.xx)
end

-- Whether it was there.
function kv.remove(key, options)
  local op, u = host.coord_remove(key, options), host.unit()
  if not u then
    local ok, e = pcall(propose, op)
    if not ok and (type(e) ~= "table" or e.code ~= "not_found") then error(e, 0) end
    return ok
  end
  local view = view_of(u, key) or { (read(u, key)) }
  if view[1] == nil then return false end
  note(noting(u), op)
  u.values[key] = {}
  u.coord_named = u.coord_named or options ~= nil and options.if_version
  return true
end

local list_options, LIST_MAX = { after = true, limit = true }, 1000

-- What is committed.
function kv.list(prefix, options)
  local o = host.options("kv.list", options, list_options)
  local limit, after = o.limit or LIST_MAX, o.after or ""
  if prefix ~= nil and type(prefix) ~= "string" or type(after) ~= "string" then
    host.fail("invalid", "kv.list wants a prefix, and after = the last key of the page before")
  end
  if math.type(limit) ~= "integer" or limit < 1 or limit > LIST_MAX then
    host.fail("invalid", "kv.list: limit is from 1 to " .. LIST_MAX)
  end
  return host.kv_list(prefix or "", after, limit)
end

-- --- counters ---

counter = {}

local add_options = { block = true }

local function block(name, options)
  local n = host.options("counter.add", options, add_options).block
  if math.type(n) ~= "integer" or n < 1 then host.fail("invalid", "counter.add: block is a number of numbers, from 1 on") end
  local last = propose(host.coord_add(name, n))
  return last - n + 1, last
end

-- As the unit will leave it.
local function count_in(u, name)
  local around = u.outer
  while around do
    if around.counts and around.counts[name] then
      host.fail("invalid", "counter '" .. name .. "': what runs around this tx counts with it already, and commits later")
    end
    around = around.outer
  end
  noting(u)
  if not u.counts[name] then
    u.counts[name] = host.counter_get(name)
    u.coord_ifs[#u.coord_ifs + 1] = host.coord_count_is(name, u.counts[name])
  end
  return u.counts[name]
end

-- The count with it; of a block its first and last number.
function counter.add(name, n)
  if type(n) == "table" then return block(name, n) end
  if n == nil then n = 1 end
  if math.type(n) ~= "integer" then host.fail("invalid", "counter.add wants a whole number, or { block = 100 }") end
  local op, u = host.coord_add(name, n), host.unit()
  if not u then return propose(op) end
  local before = count_in(u, name)
  local after = before + n
  if (n > 0) ~= (after > before) and n ~= 0 then
    host.fail("conflict", "counter '" .. name .. "' is " .. before .. ": adding " .. n .. " would overflow 64 bits")
  end
  note(u, op)
  u.counts[name] = after
  return after
end

function counter.get(name)
  local u = host.unit()
  if not u then return host.counter_get(name) end
  return count_in(u, name)
end

-- --- limits ---

local methods = {}
local limit_meta = { __index = methods, __metatable = false }
local asked = setmetatable({}, { __mode = "k" }) -- limit -> { name, options }

local TAKE_WAIT_MS, TAKE_SPARE_MS = 60000, 50

local function take(self, verb, n, wait)
  local of = asked[self]
  if not of then host.fail("invalid", verb .. " wants a limit: limit(name, { .. }):" .. verb .. "(n)") end
  if n == nil then n = 1 end
  if math.type(n) ~= "integer" then host.fail("invalid", verb .. " wants a whole number of tokens") end
  host.outside_tx("limit:" .. verb)
  if of.options.exact then return propose(host.coord_take(of.name, of.options, n, wait)), of end
  return host.share_take(of.name, of.options, n, wait), of
end

-- Its turn is reserved, and waited for; not beyond the end of what runs.
function methods:take(n)
  local wait = math.max(0, (host.time_left() or TAKE_WAIT_MS) - TAKE_SPARE_MS)
  local got, of = take(self, "take", n, wait)
  if not got.taken then
    host.fail("rate_limited", "limit '" .. of.name .. "': the next turn is in " .. got.wait_ms .. " ms, later than this run may wait")
  end
  if got.wait_ms > 0 then host.pause(got.wait_ms) end
  return got.left
end

-- Whether it got them at once; else in how many milliseconds it may be tried again.
function methods:try(n)
  local got = take(self, "try", n, 0)
  if got.taken then return true end
  return false, got.wait_ms
end

function limit(name, options)
  host.coord_take(name, options, 1, 0) -- refuses what is wrong where it is said
  local self = setmetatable({}, limit_meta)
  asked[self] = { name = name, options = host.copy(options) }
  return self
end
