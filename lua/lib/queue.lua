-- Queue: declaring queues and their handlers, sending, and what a handler is given.
local host = host

function queue(name)
  if type(name) ~= "string" then host.fail("invalid", "queue wants a name: queue \"mail\" { ... }") end
  return function(options)
    if type(options) ~= "table" then host.fail("invalid", "queue '" .. name .. "': wants a table of options, if only {}") end
    host.queue(name, options)
  end
end

local runs = {} -- name -> function, for tests

function on(what)
  local name = type(what) == "string" and what:match("^queue/(.*)$")
  if not name then return host.listen(what) end -- bus.lua
  return function(def)
    if type(def) ~= "table" then host.fail("invalid", "on '" .. what .. "': wants a table with run") end
    local options = {}
    for k, v in pairs(def) do
      if type(v) ~= "function" or k ~= "run" then options[k] = v end
    end
    host.on_queue(name, options, def.run)
    runs[name] = def.run
  end
end

-- The id of the record; where it was sent at once, also what became of it.
function send(name, body, options)
  if type(name) ~= "string" then host.fail("invalid", "send wants the name of a queue: send(\"mail\", { ... })") end
  local message, id, bytes, unique = host.message(name, body, options)
  local sent
  if unique then
    id, sent = host.propose_merge(name, unique, message, id)
  else
    sent = host.propose_send(message, bytes)
  end
  if sent then return sent.id, sent end
  return id
end

-- --- what a handler is given ---

local ctx = { __metatable = false }
ctx.__index = ctx
host.queue_ctx = ctx

local ends = setmetatable({}, { __mode = "k" }) -- ctx -> how the run ends, where it says so itself
local stop = setmetatable({}, { __tostring = function() return "the handler has ended here" end, __metatable = false })

-- Nothing behind it runs.
local function finish(c, what, a, b)
  if not ends[c] then ends[c] = { what, a, b } end
  error(stop, 0)
end

host.end_run = finish

function host.moment(verb, v)
  if type(v) == "string" and host.time_parse(v) then return host.time_parse(v) end
  if math.type(v) == "integer" and v > 100000000000 then return v end
  if type(v) == "string" or type(v) == "number" then return host.time_add(host.now(), v) end
  host.fail("invalid", verb .. " wants a duration like \"10m\" or a moment like \"2026-12-24T18:00:00Z\"")
end

function ctx:ack() finish(self, "ack") end
function ctx:reject(reason) finish(self, "reject", reason ~= nil and tostring(reason) or "rejected") end
function ctx:release() finish(self, "release") end
function ctx:snooze(to) finish(self, "snooze", host.moment("snooze", to)) end

function ctx:nack(delay)
  finish(self, "nack", delay ~= nil and host.moment("nack", delay) - host.now() or -1)
end

function ctx:backoff(gate, to)
  if type(gate) ~= "string" or gate == "" or #gate > 512 then host.fail("invalid", "backoff wants the name of a gate: ctx:backoff(\"smtp\", \"1m\")") end
  finish(self, "backoff", host.moment("backoff", to), gate)
end

function host.new_ctx(info, kind)
  local tenant, _, correlation = host.who()
  info.tenant, info.correlation = tenant, correlation
  info.headers = info.headers and host.json_decode(info.headers) or {}
  return setmetatable(info, kind or ctx)
end

local RESULT_BYTES = 256 << 10

-- What a handler returns is the result of its message, as JSON.
local function result_of(value)
  if value == nil then return nil end
  local text = host.json_encode(value)
  if #text > RESULT_BYTES then host.fail("too_large", "what a handler returns is at most 256 KiB; keep it elsewhere and return its key") end
  return text
end

-- JSON unless its type says that it is something else: then a text, as it is.
function host.body_of(text, info)
  local kind = info.type and info.type:lower()
  if kind and not kind:find("[/+]json") then return text end
  return host.json_decode(text)
end

-- How the run of this ctx has ended where it said so itself: nothing, nil and true for an ack, or "reject" reason ...
function host.said_by(c)
  local e = ends[c]
  if not e then return nil end
  ends[c] = nil
  if e[1] == "ack" then return nil, true end
  return e[1], e[2], e[3]
end

-- "done", or what is to be said of the delivery: "ack" result, "reject" reason, "snooze" until ...
function host.handle(run, text, info)
  local is_job = info.job
  local c = host.new_ctx(info, is_job and host.job_ctx)
  local function said() return host.said_by(c) end
  local function sums(value) return { result = result_of(value) } end
  local what, a, b
  if is_job then
    what, a, b = host.handle_job(run, text, c, said, sums)
  else
    what, a, b = host.work(function() return run(host.body_of(text, info), c) end, said, sums)
  end
  if what == "ack" and a then a = a.result end
  return what, a, b
end

-- --- tests: t.deliver("mail", { to = "a" }) ---

local deliver_options = { key = true, headers = true, attempt = true, deliveries = true, group = true }

function host.test_info(queue, o)
  return {
    id = host.uuid(), queue = queue, key = o.key and tostring(o.key), attempt = o.attempt or 1, deliveries = o.deliveries or o.attempt or 1,
    headers = o.headers and host.json_encode(o.headers), deadline = host.now() + 60000,
  }
end

function host.test_end(what, a, b)
  if what == "done" then what, a = "ack", nil end
  return {
    outcome = what, gate = b,
    reason = what == "reject" and a or nil,
    delay = what == "nack" and a >= 0 and a or nil,
    at = (what == "snooze" or what == "backoff") and a or nil,
  }
end

-- The handler's run with this body, as if the message had just been given out.
function host.test_deliver(name, body, options)
  local o = host.options("t.deliver", options, deliver_options)
  if o.group then return host.test_listen(name, o.group, body, o) end
  local run = runs[name]
  if not run then
    host.fail("not_found", "t.deliver: no handler of these scripts is for queue/" .. tostring(name) .. "; for a topic say which group = it is for")
  end
  return host.test_end(host.handle(run, host.json_encode(body), host.test_info(name, o)))
end
