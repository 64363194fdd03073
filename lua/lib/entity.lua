-- Entity: records as tables with methods.
local host, null, unit, copy, write, read = host, host.null, host.unit, host.copy, host.propose, host.read

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
    if write(item, item.doc) then host.refresh(name, e) else host.note_saved(unit(), name, e) end
    return e
  end

  function methods.patch(e, changes, options)
    if type(changes) ~= "table" then host.fail("invalid", "patch wants a table of changes, like e:patch { tier = \"pro\" }") end
    local item = conditions("patch", { verb = "patch", entity = name, id = e.id, doc = changes }, e, options)
    if not unit() then
      write(item)
      host.refresh(name, e)
      return e
    end
    if #changes > 0 then host.fail("invalid", "patch: inside tx changes are given by name, not as JSON-patch operations") end
    item.doc = copy(changes)
    host.merge_patch(e, changes)
    write(item, copy(e))
    host.note_saved(unit(), name, e)
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
    for _, e in ipairs(list) do host.refresh(name, wrap(e)) end
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
    for try = 1, host.unit_tries do
      local list, items, u = matches(filter, options), {}, unit()
      if options.dry_run then return #list end
      for i, e in ipairs(list) do
        if u then host.keep_read(u, name, e.id, e.version) end
        items[i] = { verb = "remove", entity = name, id = e.id, if_version = e.version }
      end
      if u then return remove_listed(list) end
      local ok, e = true, nil
      if #items > 0 then ok, e = pcall(host.write, items) end
      if ok then return #items end
      local changed = type(e) == "table" and (e.code == "version_mismatch" or e.code == "not_found")
      if not changed or try == host.unit_tries then error(e, 0) end
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
  if not name:find("/", 1, true) then host.add_partitions(E, name) end
  setmetatable(E, {
    __call = function(_, def)
      if name:find("/", 1, true) then host.fail("invalid", "a partition is not declared: it has the definition of its entity") end
      declare(name, def)
      return E
    end,
  })
  return E, wrap
end

host.entity_named = make

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

function ctx:reject(code, detail) host.refuse(code or "rejected", detail) end

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
