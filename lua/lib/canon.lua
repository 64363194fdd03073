-- Canon: declaring a model, what its stages are given, and arrivals made by scripts.
local host, entity = host, entity

-- --- declaring ---

function source_of_truth(t)
  if type(t) ~= "table" then host.fail("invalid", "source_of_truth wants a list of sources: source_of_truth { \"erp\", \"crm\" }") end
  local ranks = {}
  for i, origin in ipairs(t) do ranks[i] = origin end
  for k in pairs(t) do
    if type(k) ~= "number" and k ~= "fallback" then
      host.fail("invalid", "source_of_truth: no option '" .. tostring(k) .. "'; there is fallback")
    end
  end
  return { is = "source_of_truth", ranks = host.json_list(ranks), fallback = t.fallback }
end

-- What stands under a name, or behind a gap, would be passed over in silence.
local function check_list(t, what)
  local count = 0
  if type(t) == "table" then
    for _ in pairs(t) do count = count + 1 end
  end
  if type(t) ~= "table" or count ~= #t then host.fail("invalid", what) end
end

-- "tax_id:digits", or { "icao", fn }
local function read_part(spec, norms)
  if type(spec) == "string" then
    local field, norm = spec:match("^([^:]+):(.+)$")
    return { field = field or spec, norm = norm }
  end
  if type(spec) ~= "table" or type(spec[1]) ~= "string" or type(spec[2]) ~= "function" then
    host.fail("invalid", "a key is made of fields: \"iata\", \"email:email\" or { \"iata\", function(v) ... end }")
  end
  norms[#norms + 1] = spec[2]
  return { field = spec[1], norm = "fn:" .. #norms }
end

local function read_key(spec, norms, taken)
  if type(spec) == "string" or type(spec) == "table" and type(spec[2]) == "function" then spec = { spec } end
  check_list(spec, "a key is a field or a list of fields")
  local parts, names = {}, {}
  for i, p in ipairs(spec) do
    parts[i] = read_part(p, norms)
    names[i] = parts[i].field
  end
  local name = table.concat(names, "+")
  taken[name] = (taken[name] or 0) + 1
  if taken[name] > 1 then name = name .. "#" .. taken[name] end
  return { name = name, parts = host.json_list(parts) }
end

local function read_keys(keys, norms)
  local list, taken = {}, {}
  keys = keys == nil and {} or keys
  check_list(keys, "keys is a list: keys = { \"tax_id:digits\", { \"name\", \"born\" } }")
  for i, spec in ipairs(keys) do list[i] = read_key(spec, norms, taken) end
  return host.json_list(list)
end

local function check_table(t, what)
  if t ~= nil and type(t) ~= "table" then host.fail("invalid", what .. ", not a " .. type(t)) end
end

local function read_policy(policy)
  local out = {}
  check_table(policy, "policy is a table of fields: policy = { name = \"longest\" }")
  for field, p in pairs(policy or {}) do
    if type(p) == "string" then p = { is = p } end
    out[field] = p
  end
  return out
end

local plain = { sources = true, group = true, on_collision = true }
local stage_names = { intake = true, validate = true, project = true }

local function check_stages(name, stages)
  check_table(stages, "stages is a table of functions: stages = { validate = function(a, ctx) ... end }")
  for k, fn in pairs(stages) do
    if not stage_names[k] then
      host.fail("invalid", "canon '" .. name .. "': no stage '" .. tostring(k) .. "'; there are intake, validate, project")
    end
    if type(fn) ~= "function" then host.fail("invalid", "canon '" .. name .. "': stage " .. k .. " must be a function") end
  end
end

local function declare(name, def)
  if type(def) ~= "table" then host.fail("invalid", "canon '" .. name .. "': wants a table with sources, keys, policy") end
  local norms = {}
  local model = { keys = read_keys(def.keys, norms), policy = read_policy(def.policy) }
  for k, v in pairs(def) do
    if plain[k] then
      model[k] = v
    elseif k ~= "keys" and k ~= "policy" and k ~= "stages" then
      model[k] = true -- refused by name, whatever it holds
    end
  end
  local stages = def.stages or {}
  check_stages(name, stages)
  host.canon(name, model, stages, norms)
end

-- --- verbs ---

local verbs = { __metatable = false }
verbs.__index = verbs

function verbs.__call(model, def)
  declare(model.name, def)
  return model
end

-- Stored as a message, with the unit of whatever runs; worked later.
local function arrive_later(name, data, options)
  local mode = options.mode
  if mode ~= "queue" and mode ~= "stage" then
    host.fail("invalid", "arrive: mode is \"queue\" (worked later) or \"stage\" (held for a person), not " .. tostring(mode))
  end
  local queue, body, lane, key = host.queued(name, data, options, mode == "stage")
  local message, id, bytes = host.message(queue, nil, { lane = lane, key = key }, body)
  local sent = host.propose_send(message, bytes)
  return { outcome = mode == "stage" and "staged" or "queued", record = sent and sent.id or id, queue = queue }
end

function verbs:arrive(data, options)
  if type(options) == "table" and options.mode ~= nil then return arrive_later(self.name, data, options) end
  host.outside_tx("arrive")
  return host.arrive(self.name, data, options)
end

function verbs:get(id)
  local live = host.survivor(self.name, id)
  return live and entity(self.name).get(live)
end

function verbs:find(fields)
  local id = host.find(self.name, fields)
  return id and entity(self.name).get(id)
end

function verbs:why(id, with) return host.why(self.name, id, with) end

local known = {}

function canon(name)
  if type(name) ~= "string" then host.fail("invalid", "canon wants a name: canon \"Customer\" { ... }") end
  if not known[name] then
    known[name] = setmetatable({ name = name }, verbs)
    host.freeze(known[name])
  end
  return known[name]
end

-- --- stages ---

local STOP = {} -- raised to leave a stage whose verdict is known

local ctx = { __metatable = false }
ctx.__index = ctx

local function stop(c, verdict, reason, missing, evidence)
  c.verdict, c.reason, c.evidence = verdict, reason or missing, evidence
  error(STOP, 0)
end

function ctx:park(reason, evidence) stop(self, "park", reason, "MANUAL", evidence) end

function ctx:reject(code, detail) stop(self, "reject", code, "INVALID", detail and { detail = detail }) end

function ctx:drop(reason) stop(self, "drop", reason, "DROPPED") end

function ctx:tag(name, value)
  self.tags = self.tags or {}
  self.tags[name] = value == nil or value
end

function ctx:view(name, view)
  self.views = self.views or {}
  self.views[name] = view
end

-- What is had from outside is had once for an arrival, however often its stages run. The caller gets the same
-- shape each time: what JSON makes of it.
function ctx:memo(name, fn)
  if type(name) ~= "string" or name == "" or type(fn) ~= "function" then
    host.fail("invalid", "memo wants a name and a function: ctx:memo(\"geo\", function() return ... end)")
  end
  self.memos = self.memos or {}
  local kept = self.memos[name]
  if kept == nil then
    host.asking(true)
    local ok, value = pcall(fn)
    host.asking(false)
    if not ok then error(value, 0) end
    kept = { value = value }
    self.memos[name] = kept
  end
  if kept.value == nil then return nil end
  return json.decode(json.encode(kept.value))
end

host.ctx = ctx

-- Called for every arrival: keep it short. `c` is a ctx with origin, source_id, tenant, principal and, from earlier
-- stages, tags, views, memos.
function host.stage(fn, data, c)
  local ok, e = pcall(fn, data, c)
  if not ok and e ~= STOP then error(e, 0) end
  if ok and type(e) == "table" then data = e end
  return data, c.verdict, c.reason, c.evidence, c.tags, c.views, c.memos
end
