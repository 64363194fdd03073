-- The partitions of an entity: the same definition over records apart, and what goes from one to another.
local host = host

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
  if host.unit() then host.fail("invalid", verb .. ": not inside tx or a route, it is a unit of its own") end
  return options.from and name .. "/" .. options.from or name, options.to and name .. "/" .. options.to or name
end

local function too_many() host.fail("too_large", "over " .. TRANSFER_MAX .. " records match; move them in parts") end

-- The records of a filter into another partition, as one unit, if they are still what was read.
local function transfer(name, options, moves)
  local from, to = check_transfer(moves and "move" or "copy", name, options, transfer_options)
  local items, reads, count = {}, {}, 0
  for e in host.entity_named(from).each { filter = options.filter } do
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
  return host.same(x, y)
end

-- The ids that match on either side, in order, each once.
local function matching(names, filter)
  local ids, seen = {}, {}
  for _, name in ipairs(names) do
    for e in host.entity_named(name).each { filter = filter, fields = "id" } do
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
  local sources, targets = host.entity_named(from).get(ids), host.entity_named(to).get(ids)
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

function host.add_partitions(E, name)
  function E.mirror(options) return mirror(name, options) end
  function E.copy(options) return transfer(name, options, false) end
  function E.move(options) return transfer(name, options, true) end

  -- The same entity, with the records of a partition.
  function E.partition(part)
    if type(part) ~= "string" then host.fail("invalid", "partition wants a name") end
    return (host.entity_named(name .. "/" .. part))
  end
end
