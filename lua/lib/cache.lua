-- Cache: what was expensive to find out. One fills at a time, under a lease; a value says as of which log index it was
-- found out, so that a flush that comes while it is being filled counts.
local host, log = host, log

local LEASE, FILL_WAIT_MS = "cache/", 5000

local function propose(op) host.write({}, {}, nil, false, {}, { op }) end

-- Nobody is worse off when it is not kept: it is found out again.
local function keep(name, options, value, since)
  if value == nil then return end
  local ok, e = pcall(function() propose(host.coord_cache(name, options, value, since)) end)
  if not ok then log.warn("not cached", { name = name, why = tostring(e) }) end
end

local function fill_now(name, options, fill, state, old)
  local since = host.applied()
  local ok, value = pcall(fill)
  if ok then
    keep(name, options, value, since)
    return value
  end
  if state ~= "stale" then error(value, 0) end
  log.warn("cache: fill failed, the old value serves", { name = name, why = tostring(value) })
  return old
end

-- The lease to fill it, unless another has it for too long.
local function turn(name, state)
  local ok, hold = pcall(host.hold, LEASE .. name, "lease", 1, nil, state == "stale" and 0 or FILL_WAIT_MS, true)
  if ok then return hold end
  if type(hold) ~= "table" or hold.code ~= "locked" then error(hold, 0) end
end

local function cached(name, options, fill)
  local state, value = host.cache_get(name)
  if state == "fresh" then return value end
  if not host.can_write() then -- a hook: it finds out for itself
    if state == "stale" then return value end
    return fill()
  end
  local filling = state == "stale" and host.leader(LEASE .. name, 0, 0)
  local hold = not filling and turn(name, state)
  if not hold then
    if state == "stale" then return value end
    return fill_now(name, options, fill)
  end
  state, value = host.cache_get(name)
  if state == "fresh" then
    host.hold_end(hold)
    return value
  end
  local r = table.pack(pcall(fill_now, name, options, fill, state, value))
  host.hold_end(hold)
  if not r[1] then error(r[2], 0) end
  return r[2]
end

local NAME_BYTES = 512 - #LEASE

cache = setmetatable({}, {
  __metatable = false,
  __call = function(_, name, options, fill)
    if fill == nil then options, fill = nil, options end
    if type(name) ~= "string" or #name > NAME_BYTES or type(fill) ~= "function" then
      host.fail("invalid", "cache wants a name of at most " .. NAME_BYTES .. " bytes and a function: cache(name, { ttl = \"10m\" }, function() ... end)")
    end
    host.outside_tx("cache")
    host.coord_cache(name, options, false, 0) -- refuses what is wrong where it is said
    return cached(name, options, fill)
  end,
})

-- In a unit it counts when that is committed.
function cache.flush(tag)
  local op, u = host.coord_flush(tag), host.unit()
  if u then host.note_coord(u, op) else propose(op) end
end
