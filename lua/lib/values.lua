-- Values: what scripts do with texts, bytes and the configuration. json and time become globals in base.lua, where they
-- are kinds of fields too.
local host = host

-- Options of a verb by name; a name that it does not know is told.
function host.options(what, options, known)
  if options == nil then return {} end
  if type(options) ~= "table" then host.fail("invalid", what .. ": options are a table") end
  for name in pairs(options) do
    if not known[name] then host.fail("invalid", what .. ": there is no option '" .. tostring(name) .. "'") end
  end
  return options
end

local encode_options, decode_options = { sorted = true, pretty = true }, { nulls = true }

function host.encode(value, options)
  local o = host.options("json.encode", options, encode_options)
  return host.json_encode(value, o.sorted or o.pretty, o.pretty)
end

function host.decode(text, options)
  return host.json_decode(text, host.options("json.decode", options, decode_options).nulls)
end

crypto = { sha256 = host.sha256, hmac = host.hmac, random = host.random_bytes, equal = host.same_bytes }
host.freeze(crypto)

local parse_options, format_options = { header = true, separator = true }, { columns = true, header = true, separator = true }

-- The names of all rows, in the order of the alphabet: a table has none of its own.
local function columns_of(rows)
  local seen, names = {}, {}
  for _, row in ipairs(rows) do
    for name in pairs(type(row) == "table" and #row == 0 and row or {}) do
      if type(name) == "string" and not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

csv = {
  parse = function(text, options)
    local o = host.options("csv.parse", options, parse_options)
    return host.csv_parse(text, o.header ~= false, o.separator)
  end,
  format = function(rows, options)
    local o = host.options("csv.format", options, format_options)
    return host.csv_format(rows, host.json_list(o.columns or columns_of(rows)), o.header ~= false, o.separator)
  end,
}
host.freeze(csv)

local function ask_of(ctx)
  if type(ctx) == "string" then return { key = ctx } end
  if ctx == nil then return nil end
  if type(ctx) ~= "table" then host.fail("invalid", "flag: the context is a key, or a table with key, tenant, labels") end
  return { key = ctx.key and tostring(ctx.key), tenant = ctx.tenant, labels = ctx.labels }
end

function flag(name, ctx) return host.flag(name, ask_of(ctx)) end

local function no_setting(name)
  local names = host.setting_names()
  local near = host.nearest(name, names)
  host.fail("not_found", "config: there is no setting '" .. name .. "'; " .. (near and "did you mean '" .. near .. "'?"
    or "set it under app in koan.lua, or as KOAN_APP_" .. name:upper()))
end

config = setmetatable({
  get = function(path, default)
    local value = host.setting(path)
    if value == nil then return default end
    return value
  end,
}, {
  __index = function(_, name)
    local value = host.setting(name)
    if value == nil then no_setting(tostring(name)) end
    return value
  end,
  __newindex = function() host.fail("invalid", "config: scripts read it; it is changed in koan.lua under app") end,
  __metatable = false,
})
