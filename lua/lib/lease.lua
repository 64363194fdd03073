-- Lease: what only one may do at a time, or only so many. What is held is a condition of each unit that is committed
-- meanwhile (in C), and is given back when its function ends: in a handler that has noted something under it, with the
-- unit of the handler.
local host = host

local function noted(u)
  local count = u.merges or 0
  for _, list in ipairs { u.writes or false, u.sends or false, u.coord or false, u.jobs or false } do count = count + (list and #list or 0) end
  return count
end

local function arguments(verb, name, options, fn)
  if fn == nil then options, fn = nil, options end
  if type(name) ~= "string" or type(fn) ~= "function" then
    host.fail("invalid", verb .. " wants a name and a function: " .. verb .. "(name, { .. }, function(held) ... end)")
  end
  host.outside_tx(verb)
  return options, fn
end

local function with(hold, token, name, fn)
  local u = host.unit()
  local before = u and noted(u)
  local r = table.pack(pcall(fn, { name = name, token = token }))
  if u and noted(u) > before then
    u.holds = u.holds or {}
    u.holds[#u.holds + 1] = hold
  elseif not host.hold_end(hold) and r[1] then
    host.hold_lost(hold)
  end
  if not r[1] then error(r[2], 0) end
  return table.unpack(r, 2, r.n)
end

local WAIT_MS = 60000

-- One holder. Without `wait` it is refused at once while somebody has it.
function lease(name, options, fn)
  options, fn = arguments("lease", name, options, fn)
  local hold, token = host.hold(name, "lease", 1, options, 0)
  return with(hold, token, name, fn)
end

-- A lease that is waited for.
function mutex(name, options, fn)
  options, fn = arguments("mutex", name, options, fn)
  local hold, token = host.hold(name, "lease", 1, options, WAIT_MS)
  return with(hold, token, name, fn)
end

function semaphore(name, n, options, fn)
  options, fn = arguments("semaphore", name, options, fn)
  if math.type(n) ~= "integer" or n < 1 or n > 10000 then host.fail("invalid", "semaphore: from 1 to 10000 holders") end
  local hold, token = host.hold(name, "semaphore", n, options, WAIT_MS)
  return with(hold, token, name, fn)
end

local methods = {}
local rwlock_meta = { __index = methods, __metatable = false }
local names = setmetatable({}, { __mode = "k" })

local function locked(self, how, options, fn)
  if not names[self] then host.fail("invalid", "rwlock(name):" .. how .. "(fn)") end
  options, fn = arguments("rwlock:" .. how, names[self], options, fn)
  local hold, token = host.hold(names[self], how, 1, options, WAIT_MS)
  return with(hold, token, names[self], fn)
end

function methods:read(options, fn) return locked(self, "read", options, fn) end
function methods:write(options, fn) return locked(self, "write", options, fn) end

function rwlock(name)
  if type(name) ~= "string" then host.fail("invalid", "rwlock wants a name: rwlock(\"index\"):read(function() ... end)") end
  local self = setmetatable({}, rwlock_meta)
  names[self] = name
  return self
end

-- --- elections ---

-- Whoever holds the lease of this name is elected; the others wait for their turn.
function election(name, options, fn)
  options, fn = arguments("election", name, options, fn)
  local hold, token = host.hold(name, "lease", 1, options, WAIT_MS)
  return with(hold, token, name, fn)
end

local leader_options, LEADER_WAIT_MS = { unlike = true, wait = true }, 20000

-- Who holds it, or nil; with { unlike = token } once that is another, or when the wait is over.
function leader(name, options)
  local o = host.options("leader", options, leader_options)
  if o.unlike == nil then
    if o.wait ~= nil then host.fail("invalid", "leader: wait goes with unlike, the token of who is known to hold it (0: nobody)") end
    return host.leader(name, 0, 0)
  end
  if math.type(o.unlike) ~= "integer" or o.unlike < 0 then host.fail("invalid", "leader: unlike is a token, or 0 for nobody") end
  local wait = o.wait == nil and LEADER_WAIT_MS or type(o.wait) == "number" and o.wait * 1000 // 1 | 0 or host.duration(o.wait)
  if wait < 0 or wait > WAIT_MS then host.fail("invalid", "leader: wait is at most 60s") end
  return host.leader(name, o.unlike, math.min(wait, host.time_left() or wait))
end
