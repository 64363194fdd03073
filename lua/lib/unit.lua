-- Units of work: what is saved, sent, put and started together, or not at all.
--
-- A save, patch or remove is proposed and waited for; inside tx(fn) it is only noted, and all of them are proposed as
-- one unit when fn returns, on condition that what fn read by id is still as it was.
--
-- A unit is what tx gathers, or (`handler`) the function of a route: then what is called outside is no error, and a tx
-- inside is a unit of its own.
local host, null = host, host.null

local current = setmetatable({}, { __mode = "k" }) -- coroutine -> the unit that it gathers

local function unit() return current[host.self()] end

host.unit = unit

local function copy(v)
  if type(v) ~= "table" then return v end
  local c = {}
  for k, x in pairs(v) do c[k] = copy(x) end
  return c
end

host.copy = copy

-- As RFC 7396: null removes, tables merge, everything else replaces.
local function merge(into, patch)
  for k, v in pairs(patch) do
    if v == null then
      into[k] = nil
    elseif type(v) == "table" and type(into[k]) == "table" and #v == 0 and #into[k] == 0 then
      merge(into[k], v)
    else
      into[k] = copy(v)
    end
  end
end

host.merge_patch = merge

local function key_of(name, id) return name .. "/" .. id end

-- Its lists, when there is something to note.
local function noting(u)
  if not u.writes then u.writes, u.changes, u.reads, u.read, u.seen, u.saved = {}, {}, {}, {}, {}, {} end
  return u
end

local function is_empty(u)
  return (not u.writes or #u.writes == 0) and not u.sends and (not u.coord or #u.coord == 0) and (not u.jobs or #u.jobs == 0)
end

-- What it holds is given back in the same unit: whoever comes next finds what was done.
local function commit(u, outcomes)
  local changes, holds = u.coord, u.holds
  if holds then
    changes = table.move(changes or {}, 1, #(changes or {}), 1, {})
    for _, hold in ipairs(holds) do changes[#changes + 1] = host.coord_release(hold) end
  end
  host.write(u.writes or {}, u.reads or {}, u.sends, outcomes, u.coord_ifs, changes, u.jobs)
  for i = 1, holds and #holds or 0 do host.hold_done(holds[i]) end
  u.holds = nil
end

host.commit = commit

-- A unit that is not committed has no use for what it holds.
local function let_go(u)
  for i = 1, u.holds and #u.holds or 0 do host.hold_end(u.holds[i]) end
  u.holds = nil
end

-- At once, with what became of it; in a unit with what else that writes.
local SENDS_MAX, SENDS_BYTES = 1000, 7 << 20

function host.propose_send(message, bytes)
  local u = unit()
  if not u then
    local _, sent = host.write({}, {}, { message })
    return sent
  end
  u.sends, u.send_bytes = u.sends or {}, (u.send_bytes or 0) + bytes
  if #u.sends == SENDS_MAX or u.send_bytes > SENDS_BYTES then
    host.fail("too_large", "send: over " .. SENDS_MAX .. " messages, or 7 MiB of them, in one unit; send them in parts")
  end
  u.sends[#u.sends + 1] = message
end

-- What the run has made of a record that is not committed yet: nil when nothing.
local function seen_in(u, key)
  while u do
    local view = u.seen and u.seen[key]
    if view ~= nil then return view end
    u = u.outer
  end
end

-- Propose, or note. `view` is what get() shows from now on inside the unit: a record, or false when it is gone.
function host.propose(item, view)
  local u = unit()
  if not u then return host.write({ item })[1] end
  noting(u)
  local key = key_of(item.entity, item.id)
  local before = u.changes[key] or 0 -- of it in this unit: each makes a version
  if before > 0 or item.version then item.version = (item.version or 0) + before end
  u.changes[key] = before + 1
  u.writes[#u.writes + 1] = item
  u.seen[key] = view
end

-- The unit holds only while this is so: version 0 is "not there".
function host.keep_read(u, name, id, version)
  local key = key_of(name, id)
  noting(u)
  if seen_in(u, key) ~= nil or u.read[key] then return end
  u.read[key] = true
  u.reads[#u.reads + 1] = { entity = name, id = id, version = version }
end

-- A record as the unit sees it, which then holds only while that is so.
function host.read(name, id)
  local u = unit()
  if not u then return host.get(name, id) end
  local key = key_of(name, id)
  local view = seen_in(u, key)
  if view ~= nil then return view and copy(view) or nil end
  local row = host.get(name, id)
  host.keep_read(u, name, id, row and row.version or 0)
  return row
end

local TRIES = 5

host.unit_tries = TRIES

local function attempt(fn, ...)
  local me, outer = host.self(), unit()
  local u = { outer = outer }
  current[me] = u
  local results = table.pack(pcall(fn, ...))
  current[me] = outer
  if not results[1] then error(results[2], 0) end
  if is_empty(u) then return true, results end
  local ok, e = pcall(commit, u)
  return ok, ok and results or e, u
end

local function may_repeat(e, try)
  return type(e) == "table" and (e.code == "conflict" or e.code == "version_mismatch") and try < TRIES
end

-- After the last try. A version that the script has named is its own affair; else there were too many at once.
local function lost(e, u)
  if type(e) == "table" and e.code == "version_mismatch" and u then
    local named = u.coord_named or false
    for _, w in ipairs(u.writes or {}) do named = named or w.if_version ~= nil end
    if not named then host.fail("conflict", "somebody else was faster " .. TRIES .. " times: " .. tostring(e.detail)) end
  end
  error(e, 0)
end

-- A message that is merged with the one that waits, or with what this unit sends itself. Outside of a unit it is one of its
-- own: tried again when somebody else was faster; a unit is run again as a whole.
function host.propose_merge(name, unique, message, id)
  local u = unit()
  for try = 1, u and 0 or TRIES do
    host.merge(message)
    local ok, e, sent = pcall(host.write, {}, {}, { message })
    if ok then return sent.id, sent end
    if not may_repeat(e, try) then error(e, 0) end
  end
  u.merged = u.merged or {}
  local key = name .. "\0" .. unique
  local before = u.merged[key]
  if before then
    u.merges = (u.merges or 0) + 1
    u.send_bytes = u.send_bytes + host.merge_two(before.message, message)
    return before.id
  end
  u.merged[key] = { message = message, id = id }
  host.propose_send(message, host.merge(message))
  return id
end

function tx(fn, ...)
  if type(fn) ~= "function" then host.fail("invalid", "tx wants a function: tx(function() ... end)") end
  local around = unit()
  if around and not around.handler then return fn(...) end -- joins it
  for try = 1, TRIES do
    local ok, r, u = attempt(fn, ...)
    if ok then return table.unpack(r, 2, r.n) end
    if not may_repeat(r, try) then lost(r, u) end
  end
end

-- The function of a step: as tx, but it may call outside. `seal(unit, result)` adds what else the unit holds.
function host.step_unit(fn, seal)
  local me, outer = host.self(), unit()
  for try = 1, TRIES do
    local u = { outer = outer, step = true }
    current[me] = u
    local ok, r = pcall(fn)
    current[me] = outer
    if ok then ok, r = pcall(seal, u, r) end
    if not ok or is_empty(u) then let_go(u) end
    if not ok then error(r, 0) end
    if is_empty(u) then return end
    local done, e = pcall(commit, u)
    if done then return end
    let_go(u)
    if not may_repeat(e, try) then lost(e, u) end
  end
end

-- What it writes is never committed.
function host.discarded(fn, ...)
  local me, u = host.self(), { step = true }
  current[me] = u
  local ok, e = pcall(fn, ...)
  current[me] = nil
  let_go(u)
  return ok, e
end

function host.outside_tx(what)
  local u = unit()
  if u and not u.handler and not u.step then host.fail("invalid", what .. ": not inside tx, which holds only saves, patches and removes") end
end

local function replace(record, with)
  for k in pairs(record) do
    if with[k] == nil and k ~= "_with" then record[k] = nil end
  end
  for k, v in pairs(with) do record[k] = v end
end

-- A record as it is now, in the table that the script holds.
function host.refresh(name, record)
  local row = host.get(name, record.id)
  if row then replace(record, row) end
end

-- The function of a handler: what it writes is one unit, committed when it has returned, if `keeps(answer...)`. What
-- it saved is then as it was committed, so that an answer that holds it shows its version.
local function gather_once(fn, shape, keeps, ...)
  local me, u = host.self(), { handler = true }
  current[me] = u
  local ok, r = pcall(fn, ...)
  current[me] = nil
  if not ok then
    let_go(u)
    error(r, 0)
  end
  local answer = table.pack(shape(r))
  if is_empty(u) or not keeps(answer[1]) then
    let_go(u)
    return true, answer
  end
  local done, e = pcall(commit, u)
  if not done then
    let_go(u)
    return false, e, u
  end
  for _, saved in ipairs(u.saved or {}) do host.refresh(saved.name, saved.record) end
  return true, answer
end

function host.gather(...)
  for try = 1, TRIES do
    local ok, r, u = gather_once(...)
    if ok then return table.unpack(r, 1, r.n) end
    if not may_repeat(r, try) then lost(r, u) end
  end
end

local END_MS = 1000

-- What an end starts may find its queue closed or full. What has run is not run again for that: the same unit is proposed until
-- that queue takes it, or the time of the run is over.
local function commit_end(u, outcomes)
  local done, e = pcall(commit, u, outcomes)
  while not done and host.job_end_waits() do
    host.pause(END_MS)
    done, e = pcall(commit, u, outcomes)
  end
  if not done then error(e, 0) end
end

-- The function of a queue's handler: what it wrote and sent is one unit with the ack of its delivery, unless `said()`
-- tells of another end. "ack": there was nothing to commit, so that is left to be said; "done": all of it is. What it
-- returned goes through sums(), which gives what is told with the ack (grants.h).
function host.work(fn, said, sums)
  local me = host.self()
  for try = 1, TRIES do
    local u = { handler = true }
    current[me] = u
    local ok, r = pcall(fn)
    current[me] = nil
    local what, a, b = said()
    if what or not ok and not a then let_go(u) end
    if what then return what, a, b end
    if not ok and not a then error(r, 0) end -- unless it has said that all is well
    if not ok then r = nil end
    local outcomes = sums(r)
    if is_empty(u) then return "ack", outcomes end
    local done, e = pcall(commit_end, u, outcomes)
    if done then return "done" end
    let_go(u)
    if not may_repeat(e, try) then lost(e, u) end
  end
end

-- Refreshed once the unit is committed.
function host.note_saved(u, name, record) u.saved[#u.saved + 1] = { name = name, record = record } end
