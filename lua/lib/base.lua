-- Base: what every script sees besides Lua itself, and the kinds of fields.
--
-- `host` holds the functions in C; it is gone when scripts load. Globals set here are the library.
local host, globals = host, _ENV

print = host.print

log = {}
for _, level in ipairs { "debug", "info", "warn", "error" } do
  log[level] = function(message, fields) host.log(level, message, fields) end
end

base64 = { encode = host.base64_encode, decode = host.base64_decode }

-- Equal values, however deep. For the other files of the library.
function host.same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k, v in pairs(a) do
    if not host.same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

function reject(code, detail) host.refuse(code or "rejected", detail) end

-- --- kinds ---
--
-- While scripts load, each mention of a kind is an object of its own that knows when it was made: so fields keep the
-- order in which they were written, although a table has none. `time`, `json` and `uuid` are also what one calls at
-- run time; finish() below leaves only that.

local kinds = {
  text = true, int = true, number = true, decimal = true, bool = true, time = true, date = true, uuid = true, email = true,
  url = true, choice = true, geo = true, bytes = true, list = true, map = true, json = true, ref = true,
}

local values = {
  time = {
    now = host.now, parse = host.time_parse, format = host.time_format, parts = host.time_parts, add = host.time_add,
    diff = host.time_diff, duration = host.duration,
  },
  json = { encode = host.encode, decode = host.decode, list = host.json_list, null = host.null },
  uuid = host.uuid,
}
host.freeze(values.time)
host.freeze(values.json)

local order, count = setmetatable({}, { __mode = "k" }), 0
local kind = { __metatable = false }

local function new_kind(name, at)
  if not at then
    count = count + 1
    at = count
  end
  local k = setmetatable({ kind = name }, kind)
  order[k] = at
  return k
end

function kind.__index(k, name)
  local value = values[rawget(k, "kind")]
  return type(value) == "table" and value[name] or nil
end

local function wrong(k, what) host.fail("invalid", k.kind .. ": " .. what) end

local function take_positional(k, spec, items)
  if #items == 0 then return end
  if spec.kind == "choice" then
    spec.choices = host.json_list(items)
  elseif spec.kind == "list" or spec.kind == "map" then
    if #items > 1 then wrong(k, "holds one kind of value, like " .. k.kind .. " { text }") end
    spec.of = items[1]
  elseif spec.kind == "ref" then
    if #items > 1 then wrong(k, "refers to one entity, like ref { \"Customer\" }") end
    spec.to = type(items[1]) == "table" and items[1].name or items[1]
  else
    wrong(k, "takes options by name, like " .. k.kind .. " { required = true }")
  end
end

function kind.__call(k, options)
  if options == nil and k.kind == "uuid" then return host.uuid() end
  if type(options) ~= "table" then wrong(k, "takes a table of options, like " .. k.kind .. " { required = true }") end
  local spec, items = new_kind(k.kind, order[k]), {}
  for name, value in pairs(options) do
    if type(name) ~= "number" then spec[name] = value end
  end
  for i, value in ipairs(options) do items[i] = value end
  take_positional(k, spec, items)
  if k.kind == "list" and type(spec.default) == "table" then host.json_list(spec.default) end
  return spec
end

local absent = {} -- what stands for a name that this version does not have -> refuses it

-- Names of fields in the order of their mention.
function host.ordered(fields)
  local names = {}
  for name, spec in pairs(fields) do
    if type(name) ~= "string" then host.fail("invalid", "a field has no name: write name = text, not text alone") end
    if absent[spec] then absent[spec]() end
    if type(spec) ~= "string" and host.meta(spec) ~= kind then
      host.fail("invalid", "field '" .. name .. "' needs a kind, like " .. name .. " = text { max = 100 }")
    end
    names[#names + 1] = name
  end
  local function at(name) return order[fields[name]] or 0 end
  table.sort(names, function(a, b)
    if at(a) ~= at(b) then return at(a) < at(b) end
    return a < b
  end)
  return names
end

setmetatable(globals, {
  __index = function(_, name)
    if kinds[name] and host.loading() then return new_kind(name) end
  end,
})

-- --- what this version does not have: named, so that a script says so instead of failing somewhere ---

for name, words in pairs(host.absent) do
  local function refuse() host.fail("unsupported", words) end
  local it = setmetatable({}, { __index = refuse, __newindex = refuse, __call = refuse, __metatable = false })
  globals[name], absent[it] = it, refuse
end

-- Called once, when the scripts of the set are loaded.
function host.finish()
  host.freeze_entities()
  for name in pairs(kinds) do
    globals[name] = values[name] or function()
      host.fail("invalid", name .. ": fields are declared at the top of a script, not in a function")
    end
  end
end
