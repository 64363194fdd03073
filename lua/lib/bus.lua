-- Bus: topics. Who listens and how topics are kept, publishing, and handlers that take batches.
local host = host

local listeners = {} -- { pattern =, group =, run =, batch = }, for tests

-- on "order.*" { ... }: see queue.lua for on.
function host.listen(pattern)
  if type(pattern) ~= "string" or pattern:find("/", 1, true) then
    host.fail("invalid", "on '" .. tostring(pattern) .. "': on \"queue/NAME\" works a queue, on \"order.*\" listens to topics")
  end
  return function(def)
    if type(def) ~= "table" then host.fail("invalid", "on '" .. pattern .. "': wants a table with run") end
    local options = {}
    for k, v in pairs(def) do
      if type(v) ~= "function" or k ~= "run" then options[k] = v end
    end
    local group = host.on_topic(pattern, options, def.run)
    listeners[#listeners + 1] = { pattern = pattern, group = group, run = def.run, batch = def.batch ~= nil }
  end
end

function topic(pattern)
  if type(pattern) ~= "string" then host.fail("invalid", "topic wants a pattern: topic \"customer.*\" { retain = \"7d\" }") end
  return function(options)
    if type(options) ~= "table" then host.fail("invalid", "topic '" .. pattern .. "': wants a table of options") end
    host.topic(pattern, options)
  end
end

local TRIES = 5

-- The id of the message, and how many groups get it. Published at once, it is routed again when a deploy was faster; in a
-- unit the unit is begun again.
function publish(topic, body, options)
  if type(topic) ~= "string" then host.fail("invalid", "publish wants a topic: publish(\"order.placed\", { ... })") end
  for try = 1, TRIES do
    local message, id, groups, bytes = host.publication(topic, body, options)
    local ok, e = pcall(host.propose_send, message, bytes)
    if ok then return id, groups end
    if host.unit() or type(e) ~= "table" or e.code ~= "conflict" or try == TRIES then error(e, 0) end
  end
end

local REQUEST_MS, REQUEST_MAX_MS = 5000, 5 * 60 * 1000

-- What the first handler that ends well has returned. A unit of its own, at once: nobody could answer what is not
-- committed.
function request(topic, body, options)
  if type(topic) ~= "string" then host.fail("invalid", "request wants a topic: request(\"price.of\", { ... }, { timeout = \"5s\" })") end
  host.outside_tx("request")
  local o = {}
  for k, v in pairs(options or {}) do o[k] = v end
  local ms = o.timeout == nil and REQUEST_MS or type(o.timeout) == "number" and math.ceil(o.timeout * 1000) or host.duration(o.timeout)
  if ms < 1 or ms > REQUEST_MAX_MS then host.fail("invalid", "request: timeout is from 1 ms to 5 minutes") end
  for _, name in ipairs { "delay", "run_at", "dedup" } do
    if o[name] ~= nil then host.fail("invalid", "request: " .. name .. ": who waits for an answer asks at once") end
  end
  o.timeout, o.mandatory = nil, true
  local message = host.publication(topic, body, o)
  local text = host.request(message, topic, ms)
  return text and host.json_decode(text)
end

-- --- batches ---

local said = setmetatable({}, { __mode = "k" }) -- item of a batch -> how it ends, where that is not with an ack

local item = { __metatable = false }
item.__index = item

function item:ack() said[self] = nil end
function item:reject(reason) said[self] = { "reject", reason ~= nil and tostring(reason) or "rejected" } end
function item:release() said[self] = { "release" } end
function item:snooze(to) said[self] = { "snooze", host.moment("snooze", to) } end
function item:nack(delay) said[self] = { "nack", delay ~= nil and host.moment("nack", delay) - host.now() or -1 } end

-- Made anew for each run, since a conflict begins it again.
local function new_batch(texts, infos)
  local list, items = {}, {}
  for i, text in ipairs(texts) do
    list[i] = host.body_of(text, infos[i])
    local one = {}
    for k, v in pairs(infos[i]) do one[k] = v end
    one.headers = one.headers and host.json_decode(one.headers) or {}
    items[i] = setmetatable(one, item)
  end
  return list, host.new_ctx { items = items, queue = infos[1].queue, deadline = infos[1].deadline }
end

-- "done"; or how all of them end, and in the fourth place how single ones do.
function host.handle_batch(run, texts, infos)
  local c
  local function singles()
    local outcomes = {}
    for i, one in ipairs(c.items) do outcomes[i] = said[one] end
    return outcomes
  end
  local what, a, b = host.work(function()
    local list
    list, c = new_batch(texts, infos)
    run(list, c)
  end, function() return host.said_by(c) end, singles)
  if what == "done" or what == "ack" then a = nil end
  return what, a, b, singles()
end

-- --- tests: t.publish("order.placed", { ... }), t.deliver("order.placed", { ... }, { group = "audit" }) ---

local function run_of(topic, group)
  local pattern = host.listening(topic)[group]
  for _, l in ipairs(listeners) do
    if l.pattern == pattern and l.group == group then return l end
  end
end

local function info_of(topic, group, o)
  local info = host.test_info("group." .. group, o)
  info.topic, info.message_id = topic, info.id
  return info
end

-- A batch handler is given a list, and tells of each.
local function test_batch(l, topic, list, o)
  local texts, infos, ends = {}, {}, {}
  if type(list) ~= "table" or #list == 0 then host.fail("invalid", "t.deliver: this handler takes batches: give a list of bodies") end
  for i, body in ipairs(list) do texts[i], infos[i] = host.json_encode(body), info_of(topic, l.group, o) end
  local what, a, b, singles = host.handle_batch(l.run, texts, infos)
  for i = 1, #list do
    local own = singles and singles[i]
    ends[i] = own and host.test_end(own[1], own[2]) or host.test_end(what, a, b)
  end
  local all = host.test_end(what, a, b)
  all.items = ends
  return all
end

function host.test_listen(topic, group, body, o)
  local l = run_of(topic, group)
  if not l then host.fail("not_found", "t.deliver: group '" .. tostring(group) .. "' of these scripts does not listen to '" .. tostring(topic) .. "'") end
  if not l.run then host.fail("unsupported", "t.deliver: group '" .. group .. "' is a webhook; `koan check` calls nobody") end
  if l.batch then return test_batch(l, topic, body, o) end
  return host.test_end(host.handle(l.run, host.json_encode(body), info_of(topic, group, o)))
end

local publish_options = { key = true, headers = true }

-- Every group of these scripts that listens gets it; how each ended, by group.
function host.test_publish(topic, body, options)
  local o, ends = host.options("t.publish", options, publish_options), {}
  local names = {}
  for group in pairs(host.listening(topic)) do names[#names + 1] = group end
  table.sort(names)
  for _, group in ipairs(names) do
    local l = run_of(topic, group)
    if l.run then ends[group] = host.test_listen(topic, group, l.batch and { body } or body, o) end
  end
  return ends
end
