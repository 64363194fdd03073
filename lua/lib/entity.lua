-- Entity: records as tables with methods, and units of work.
--
-- A save, patch or remove is proposed and waited for; inside tx(fn) it is only noted, and all of them are proposed as
-- one unit when fn returns, on condition that what fn read by id is still as it was.
local host, null, same = host, host.null, host.same

-- --- units ---
--
-- A unit is what tx gathers, or (`handler`) the function of a route: then what is called outside is no error, and a tx
-- inside is a unit of its own.

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
local function write(item, view)
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
local function keep_read(u, name, id, version)
  local key = key_of(name, id)
  noting(u)
  if seen_in(u, key) ~= nil or u.read[key] then return end
  u.read[key] = true
  u.reads[#u.reads + 1] = { entity = name, id = id, version = version }
end

local function read(name, id)
  local u = unit()
  if not u then return host.get(name, id) end
  local key = key_of(name, id)
  local view = seen_in(u, key)
  if view ~= nil then return view and copy(view) or nil end
  local row = host.get(name, id)
  keep_read(u, name, id, row and row.version or 0)
  return row
end

local TRIES = 5

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

-- --- records ---

local function replace(record, with)
  for k in pairs(record) do
    if with[k] == nil and k ~= "_with" then record[k] = nil end
  end
  for k, v in pairs(with) do record[k] = v end
end

local function refresh(name, record)
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
  for _, saved in ipairs(u.saved or {}) do refresh(saved.name, saved.record) end
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
-- returned goes through sums(), which gives what is told with the ack (held.h).
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

local function note_saved(u, name, record) u.saved[#u.saved + 1] = { name = name, record = record } end

local write_options = { if_version = true }

-- The change holds only at a version: the one given, or where the entity requires one that of the record.
local function conditions(verb, item, e, options)
  item.version = e.version
  if options == nil then return item end
  item.if_version = host.options(verb, options, write_options).if_version
  if item.if_version ~= nil and (math.type(item.if_version) ~= "integer" or item.if_version < 1) then
    host.fail("invalid", verb .. ": if_version is a version, which counts from 1")
  end
  return item
end

local function add_methods(name, methods)
  function methods.save(e, options)
    local item = conditions("save", { verb = "save", entity = name, id = e.id }, e, options)
    if not item.id then
      item.id, item.mode = host.uuid(), "create"
      e.id = item.id
    end
    item.doc = e
    if unit() then item.doc = copy(e) end
    if write(item, item.doc) then refresh(name, e) else note_saved(unit(), name, e) end
    return e
  end

  function methods.patch(e, changes, options)
    if type(changes) ~= "table" then host.fail("invalid", "patch wants a table of changes, like e:patch { tier = \"pro\" }") end
    local item = conditions("patch", { verb = "patch", entity = name, id = e.id, doc = changes }, e, options)
    if not unit() then
      write(item)
      refresh(name, e)
      return e
    end
    if #changes > 0 then host.fail("invalid", "patch: inside tx changes are given by name, not as JSON-patch operations") end
    item.doc = copy(changes)
    merge(e, changes)
    write(item, copy(e))
    note_saved(unit(), name, e)
    return e
  end

  function methods.remove(e, options) write(conditions("remove", { verb = "remove", entity = name, id = e.id }, e, options), false) end
end

-- --- computed fields ---
--
-- view(e) runs when a script reads a field that a record does not have, at the cost of that script. It is not kept:
-- what a record says now is what counts.

local views = {} -- name -> { view =, fields = }: of entities that have one
local VIEW_DEPTH = 8
local under_way = setmetatable({}, { __mode = "k" }) -- coroutine -> { depth =, [record] = true }
local new_ctx

local function compute(name, e, field)
  local v, me = views[name], host.self()
  if type(field) ~= "string" or v.fields[field] then return nil end
  local now = under_way[me] or { depth = 0 }
  if now[e] then return nil end -- its own view asks
  if now.depth == VIEW_DEPTH then host.fail("invalid", "view of " .. name .. ": over " .. VIEW_DEPTH .. " views inside one another") end
  under_way[me], now[e], now.depth = now, true, now.depth + 1
  local ok, more = pcall(v.view, e, new_ctx())
  now[e], now.depth = nil, now.depth - 1
  if now.depth == 0 then under_way[me] = nil end
  if not ok then error(more, 0) end
  if more ~= nil and type(more) ~= "table" then
    host.fail("rejected", "view gives back a table of the fields that it adds, not a " .. type(more))
  end
  return more and more[field]
end

-- --- what stands beside a record ---

local wrap_of -- name of an entity -> its wrap()

local function part_of(name) return name:match("/.*$") or "" end

-- The records of `_with` are records of their entities.
local function wrap_beside(name, record, tree)
  for under, node in pairs(tree) do
    local found, full = record._with and record._with[under], node.entity .. part_of(name)
    local wrap, one = wrap_of(full), found and found.id ~= nil
    for _, r in ipairs(one and { found } or found or {}) do
      if r ~= null then
        wrap(r)
        wrap_beside(full, r, node.with)
      end
    end
  end
  return record
end

local function names_of(with)
  if type(with) == "table" then return table.concat(with, ",") end
  if with ~= nil and type(with) ~= "string" then host.fail("invalid", "with is a text or a list, like \"customer,lines.product\"") end
  return with
end

-- --- the verbs of an entity ---

local get_options = { with = true }

-- As committed, of one snapshot; inside tx the record itself as the unit sees it.
local function get_with(name, ids, with)
  if not unit() then return host.get_with(name, ids, with) end
  local rows = {}
  for i = 1, #ids do rows[i] = read(name, ids[i]) or null end
  return host.beside(name, host.json_list(rows), with)
end

local function add_reading(E, name, wrap, wrap_part)
  local function get_beside(id, with)
    local list = type(id) == "table"
    local rows, tree, found = {}, nil, nil
    if not list or #id > 0 then found, tree = get_with(name, list and id or { id }, with) end
    for i = 1, found and #found or 0 do
      if found[i] ~= null then rows[i] = wrap_beside(name, wrap(found[i]), tree) end
    end
    if list then return rows end
    return rows[1]
  end

  function E.get(id, options)
    local with = options ~= nil and names_of(host.options("get", options, get_options).with)
    if with then return get_beside(id, with) end
    if type(id) ~= "table" then
      local row = read(name, id)
      return row and wrap(row)
    end
    local rows, found = {}, not unit() and host.get_many(name, id)
    for i = 1, #id do
      local row = found and found[i] or not found and read(name, id[i]) or nil
      if row and row ~= null then rows[i] = wrap(row) end
    end
    return rows
  end

  local function query(options, snapshot)
    local o = options or {}
    if type(o) == "table" and o.with ~= nil then
      o = {}
      for k, v in pairs(options) do o[k] = v end
      o.with = names_of(o.with)
    end
    local rows, page, tree = host.query(name, o, snapshot)
    local as = o.fields and wrap_part or wrap
    for i = 1, #rows do
      as(rows[i])
      if tree then wrap_beside(name, rows[i], tree) end
    end
    return rows, page
  end

  function E.query(options) return query(options) end

  -- All pages are of one snapshot, which the loop gives back when it ends, however it ends.
  function E.each(options)
    local q, rows, page, i = { page_size = 200, count = "none" }, {}, { more = true }, 0
    for k, v in pairs(options or {}) do q[k] = v end
    local snapshot = host.snapshot()
    local function next_row()
      i = i + 1
      if i > #rows then
        if not page.more then return nil end
        rows, page = query(q, snapshot)
        if page.more and not page.cursor then
          host.fail("too_large", "each: a value to sort by is too long to go on behind it; sort by another field")
        end
        q.cursor, q.page, i = page.cursor, nil, 1
      end
      return rows[i]
    end
    return next_row, nil, nil, setmetatable({}, { __close = function() host.snapshot_end(snapshot) end, __metatable = false })
  end

  function E.count(options) return host.count(name, options or {}) end

  -- What was replaced, the newest first; or the record as it was at a version.
  function E.history(id, version)
    local found = host.history(name, id, version)
    return version and found and wrap(found) or found
  end
end

local purge_options = { confirm = true }
local remove_all_options = { filter = true, confirm = true, dry_run = true }

local function add_writing(E, name, wrap, methods)
  function E.new(fields)
    local e = host.defaults(name)
    for k, v in pairs(fields or {}) do e[k] = v end
    return wrap(e)
  end

  -- Inside tx the record is there when the unit is committed.
  function E.restore(id)
    write { verb = "restore", entity = name, id = id }
    return not unit() and E.get(id) or nil
  end

  -- What was removed, now for good.
  function E.purge(id, options)
    if host.options("purge", options, purge_options).confirm ~= id then
      host.fail("invalid", "purge: what is purged does not come back: say { confirm = id }")
    end
    write({ verb = "purge", entity = name, id = id })
  end

  function E.remove(id, options) write(conditions("remove", { verb = "remove", entity = name, id = id }, {}, options), false) end

  function E.save_all(list)
    if unit() then
      for _, e in ipairs(list) do methods.save(e) end
      return list
    end
    local items = {}
    for i, e in ipairs(list) do
      local id = e.id
      e.id = id or host.uuid()
      items[i] = { verb = "save", entity = name, id = e.id, doc = e, version = e.version, mode = not id and "create" or nil }
    end
    host.write(items)
    for _, e in ipairs(list) do refresh(name, wrap(e)) end
    return list
  end

  local function matches(filter, options)
    if type(filter) ~= "table" or next(filter) == nil and options.confirm ~= name and not options.dry_run then
      host.fail("invalid", "remove_all: an empty filter would remove everything; if that is meant say confirm = \"" .. name .. "\"")
    end
    local ids = {}
    for e in E.each { filter = filter, fields = "id,version" } do ids[#ids + 1] = e end
    return ids
  end

  local function remove_listed(list)
    local items = {}
    for i, e in ipairs(list) do
      local id = type(e) == "table" and e.id or e
      items[i] = { verb = "remove", entity = name, id = id, version = type(e) == "table" and e.version or nil }
      if unit() then write(items[i], false) end
    end
    if #items > 0 and not unit() then host.write(items) end
    return #items
  end

  -- As they were found: one that has changed meanwhile may not match any more, so then the filter is asked again.
  local function remove_found(filter, options)
    for try = 1, TRIES do
      local list, items, u = matches(filter, options), {}, unit()
      if options.dry_run then return #list end
      for i, e in ipairs(list) do
        if u then keep_read(u, name, e.id, e.version) end
        items[i] = { verb = "remove", entity = name, id = e.id, if_version = e.version }
      end
      if u then return remove_listed(list) end
      local ok, e = true, nil
      if #items > 0 then ok, e = pcall(host.write, items) end
      if ok then return #items end
      local changed = type(e) == "table" and (e.code == "version_mismatch" or e.code == "not_found")
      if not changed or try == TRIES then error(e, 0) end
    end
  end

  function E.remove_all(list)
    if list.filter ~= nil then return remove_found(list.filter, host.options("remove_all", list, remove_all_options)) end
    return list.dry_run and #list or remove_listed(list)
  end
end

-- fn(record, held) runs while nobody else holds the lease of the record; nil when it is not there.
local function add_leasing(E, name)
  function E.with_lease(id, options, fn)
    if fn == nil then options, fn = nil, options end
    if type(id) == "table" then id = id.id end
    if type(id) ~= "string" or type(fn) ~= "function" then
      host.fail("invalid", "with_lease wants an id and a function: E.with_lease(id, { .. }, function(record, held) ... end)")
    end
    return mutex("entity/" .. name .. "/" .. id, options, function(held) return fn(E.get(id), held) end)
  end
end

-- --- declaring ---

local hooks = { before_save = true, before_remove = true, view = true, migrate = true }

host.saving = {} -- name -> before_save, for a dry run

local function declare(name, def)
  if type(def) ~= "table" then host.fail("invalid", "entity '" .. name .. "': wants a table with fields") end
  if type(def.fields) ~= "table" then host.fail("invalid", "entity '" .. name .. "': fields = { .. } is missing") end
  local d = {}
  for k, v in pairs(def) do
    if type(v) == "function" and not hooks[k] then
      host.fail("unsupported", "entity '" .. name .. "': '" .. tostring(k) .. "' is not in this version of Koan")
    end
    if not hooks[k] then d[k] = v end
  end
  host.entity(name, d, host.ordered(def.fields), def.before_save, def.before_remove, def.view, def.migrate)
  host.saving[name] = def.before_save
  if def.view then
    local fields = { _with = true, expires_at = true }
    for _, system in ipairs { "id", "version", "created_at", "updated_at", "created_by", "updated_by" } do fields[system] = true end
    for field in pairs(def.fields) do fields[field] = true end
    views[name] = { view = def.view, fields = fields }
  end
end

-- Each old record through migrate: { record = .. } or { error = words }.
function host.migrate_rows(fn, rows)
  local out = {}
  for i, row in ipairs(rows) do
    local ok, e = pcall(fn, row.record)
    if not ok then
      out[i] = { error = tostring(e) }
    elseif type(e) ~= "table" then
      out[i] = { error = "migrate gave back " .. (e == nil and "nothing" or "a " .. type(e)) .. ", not a record" }
    else
      out[i] = { record = e }
    end
  end
  return host.json_list(out)
end

local known = {}

local make
local wraps = setmetatable({}, { __mode = "v" }) -- name, also of partitions -> wrap()

function wrap_of(name)
  local wrap, _ = wraps[name], nil
  if not wrap and name:find("/", 1, true) then
    _, wrap = make(name)
  elseif not wrap then
    entity(name)
    wrap = wraps[name]
  end
  return wrap
end

-- --- partitions ---

local TRANSFER_MAX = 500

local transfer_options = { filter = true, from = true, to = true }
local mirror_options = { filter = true, from = true, to = true, prefer = true }

-- What is asked, and the names of both sides.
local function check_transfer(verb, name, options, known_options)
  if type(options) ~= "table" or type(options.filter) ~= "table" then
    host.fail("invalid", verb .. " wants { filter = .., from = .., to = .. }; filter = {} is all")
  end
  host.options(verb, options, known_options)
  if options.from == options.to then host.fail("invalid", "from and to are the same partition") end
  if unit() then host.fail("invalid", verb .. ": not inside tx or a route, it is a unit of its own") end
  return options.from and name .. "/" .. options.from or name, options.to and name .. "/" .. options.to or name
end

local function too_many() host.fail("too_large", "over " .. TRANSFER_MAX .. " records match; move them in parts") end

-- The records of a filter into another partition, as one unit, if they are still what was read.
local function transfer(name, options, moves)
  local from, to = check_transfer(moves and "move" or "copy", name, options, transfer_options)
  local items, reads, count = {}, {}, 0
  for e in make(from).each { filter = options.filter } do
    count = count + 1
    if count > TRANSFER_MAX then too_many() end
    items[#items + 1] = { verb = "save", entity = to, id = e.id, doc = e }
    if moves then
      items[#items + 1] = { verb = "remove", entity = from, id = e.id, if_version = e.version }
    else
      reads[#reads + 1] = { entity = from, id = e.id, version = e.version }
    end
  end
  if count > 0 then host.write(items, reads) end
  return count
end

local system_fields = { version = true, created_at = true, updated_at = true, created_by = true, updated_by = true }

local function same_record(a, b)
  local x, y = {}, {}
  for k, v in pairs(a) do if not system_fields[k] then x[k] = v end end
  for k, v in pairs(b) do if not system_fields[k] then y[k] = v end end
  return same(x, y)
end

-- The ids that match on either side, in order, each once.
local function matching(names, filter)
  local ids, seen = {}, {}
  for _, name in ipairs(names) do
    for e in make(name).each { filter = filter, fields = "id" } do
      if not seen[e.id] then
        if #ids == TRANSFER_MAX then too_many() end
        ids[#ids + 1], seen[e.id] = e.id, true
      end
    end
  end
  return ids
end

local preferences = { latest = true, source = true, target = true, report = true }

-- What one record of a mirror is told, and whether the target's goes into the source.
local function difference_of(source, target, prefer)
  if not source or not target then return source and "only_in_source" or "only_in_target", not source end
  if same_record(source, target) then return nil, false end
  return "differs", prefer == "target" or prefer == "latest" and target.updated_at > source.updated_at
end

-- Both sides alike, as one unit, if they are still what was read.
local function mirror(name, options)
  local from, to = check_transfer("mirror", name, options, mirror_options)
  local prefer = options.prefer or "latest"
  if not preferences[prefer] then host.fail("invalid", "prefer: '" .. tostring(prefer) .. "' is none of latest, source, target, report") end
  local ids = matching({ from, to }, options.filter)
  local sources, targets = make(from).get(ids), make(to).get(ids)
  local items, reads, results, changed = {}, {}, {}, 0
  for i, id in ipairs(ids) do
    local source, target = sources[i], targets[i]
    local difference, back = difference_of(source, target, prefer)
    local result = { id = id, difference = difference, outcome = difference and "reported" or "unchanged" }
    if source or target then results[#results + 1] = result end -- else removed meanwhile
    if difference and (source or target) and prefer ~= "report" then
      result.into = back and "source" or "target"
      items[#items + 1] = { verb = "save", entity = back and from or to, id = id, doc = back and target or source }
      reads[#reads + 1] = { entity = from, id = id, version = source and source.version or 0 }
      reads[#reads + 1] = { entity = to, id = id, version = target and target.version or 0 }
      result.item = #items
    end
  end
  local written = #items > 0 and host.write(items, reads) or {}
  for _, result in ipairs(results) do
    if result.item then
      result.outcome, result.item = written[result.item].outcome, nil
      changed = changed + (result.outcome ~= "unchanged" and 1 or 0)
    end
  end
  return { results = results, matched = #results, changed = changed }
end

local function add_partitions(E, name)
  function E.mirror(options) return mirror(name, options) end
  function E.copy(options) return transfer(name, options, false) end
  function E.move(options) return transfer(name, options, true) end

  -- The same entity, with the records of a partition.
  function E.partition(part)
    if type(part) ~= "string" then host.fail("invalid", "partition wants a name") end
    return (make(name .. "/" .. part))
  end
end

function make(name)
  local methods = {}
  local instance, base = { __metatable = false }, name:match("^[^/]*")
  function instance.__index(e, k)
    local method = methods[k]
    if method ~= nil or not views[base] then return method end
    return compute(base, e, k)
  end
  -- Of which only some fields were read: nothing can be computed from it.
  local part = { __index = methods, __metatable = false }
  local function wrap_as(meta) return function(row) return host.meta(row) ~= meta and setmetatable(row, meta) or row end end
  local wrap = wrap_as(instance)
  local E = { name = name }
  add_methods(name, methods)
  add_reading(E, name, wrap, wrap_as(part))
  wraps[name] = wrap
  add_writing(E, name, wrap, methods)
  add_leasing(E, name)
  if not name:find("/", 1, true) then add_partitions(E, name) end
  setmetatable(E, {
    __call = function(_, def)
      if name:find("/", 1, true) then host.fail("invalid", "a partition is not declared: it has the definition of its entity") end
      declare(name, def)
      return E
    end,
  })
  return E, wrap
end

-- A script may add functions of its own to an entity while it loads, not after.
function host.freeze_entities()
  for _, E in pairs(known) do host.freeze(E) end
end

function entity(name)
  if type(name) ~= "string" then host.fail("invalid", "entity wants a name: entity \"Customer\" { ... }") end
  if not known[name] then
    known[name] = make(name)
    if not host.loading() then host.freeze(known[name]) end
  end
  return known[name]
end

-- --- hooks ---

local ctx = { __metatable = false }
ctx.__index = ctx

function ctx:reject(code, detail) host.fail(code or "rejected", detail) end

-- The field stays as it was; a new record may set it.
function ctx:protect(field)
  local prior = self.prior
  if prior then self.record[field] = prior[field] end
end

function new_ctx(record, prior)
  local tenant, principal, correlation = host.who()
  return setmetatable({ tenant = tenant, principal = principal, correlation = correlation, record = record, prior = prior }, ctx)
end

-- What view(e) adds to each of the records, or false.
function host.view_hook(fn, _, records)
  local c, added = new_ctx(), {}
  for i, e in ipairs(records) do
    local more = fn(e, c)
    if more ~= nil and type(more) ~= "table" then
      host.fail("rejected", "view gives back a table of the fields that it adds, not a " .. type(more))
    end
    added[i] = more ~= nil and next(more) ~= nil and more or false
  end
  return host.json_list(added)
end

function host.save_hook(fn, _, record, prior)
  fn(record, prior, new_ctx(record, prior))
  return record
end

function host.remove_hook(fn, _, prior) fn(prior, new_ctx(nil, prior)) end
