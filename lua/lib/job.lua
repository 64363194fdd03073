-- Job: declaring jobs, submitting runs, and what of a run lasts longer than one execution: steps, sleeps, waits.
--
-- A run that sleeps, waits or fails begins anew with the next execution. A step that has finished is not run again: its result
-- was committed with what it wrote, and is read.
local host = host

-- --- declaring, submitting ---

local Job = { __metatable = false }
Job.__index = Job
local functions = {} -- name -> run, for tests

function Job.__newindex() host.fail("invalid", "a job is declared as job \"name\" { .. }, and not changed") end

function Job.__call(self, def)
  local name = self.name
  if type(def) ~= "table" then host.fail("invalid", "job '" .. name .. "': wants a table with run = function(args, ctx) .. end") end
  local options = {}
  for k, v in pairs(def) do
    if k ~= "run" then options[k] = v end
  end
  if type(options.chain) == "string" then options.chain = { options.chain } end
  if options.args ~= nil and type(options.args) ~= "table" then
    host.fail("invalid", "job '" .. name .. "': args are fields, like args = { day = date }")
  end
  host.job(name, options, options.args and host.ordered(options.args) or {}, def.run)
  functions[name] = def.run
  return self
end

local function submit(name, args, options, fan)
  local message, id, bytes = host.job_submit(name, args, options, fan)
  return id, host.propose_send(message, bytes)
end

-- The id of the run; where it was submitted at once, also what became of it.
function Job:submit(args, options)
  local id, sent = submit(self.name, args, options)
  if sent then return sent.id, sent end
  return id
end

local people_options = { reason = true }

-- With the unit, where there is one.
local function people(self, verb, id, options)
  local o, u = host.options(verb, options, people_options), host.unit()
  if type(id) ~= "string" then host.fail("invalid", verb .. " wants the id of a run: job(\"" .. self.name .. "\"):" .. verb .. "(id)") end
  if o.reason ~= nil and type(o.reason) ~= "string" then host.fail("invalid", verb .. ": the reason is text") end
  host.job_known(self.name, id)
  local op = host.job_people(verb, self.name, id, o.reason)
  if not u then return host.commit { jobs = { op } } end
  u.jobs = u.jobs or {}
  u.jobs[#u.jobs + 1] = op
end

function Job:cancel(id, options) people(self, "cancel", id, options) end
function Job:retry(id, options) people(self, "retry", id, options) end

function job(name)
  if type(name) ~= "string" then host.fail("invalid", "job wants a name: job \"settle\" { ... }, job(\"settle\"):submit { ... }") end
  return setmetatable({ name = name }, Job)
end

-- --- a run ---

local STEPS_MAX, NAME_BYTES = 1000, 128
local WAIT_MS = 30 * 86400 * 1000

local under_way = setmetatable({}, { __mode = "k" }) -- coroutine -> the run that it works
local undone_up_to_here = setmetatable({}, { __tostring = function() return "the run came as far as this" end, __metatable = false })

local function here(what)
  local r, u = under_way[host.self()], host.unit()
  if not r then host.fail("invalid", what .. ": only in the function of a job") end
  if r.stepping then host.fail("invalid", what .. ": not inside a step") end
  if u and u.outer then host.fail("invalid", what .. ": not inside tx") end
  return r
end

-- Each name is taken once, by steps, sleeps and waits alike.
local function take_name(r, what, name)
  if type(name) ~= "string" or name == "" or #name > NAME_BYTES or not utf8.len(name) then
    host.fail("invalid", what .. " wants a name of 1 to " .. NAME_BYTES .. " bytes, like " .. what .. "(\"export\", ..)")
  end
  if r.used[name] then
    host.fail("invalid", what .. " '" .. name .. "': this run has had a step of this name; what repeats takes a number, like \"" .. name .. "-2\"")
  end
  if r.count == STEPS_MAX then host.fail("too_large", what .. " '" .. name .. "': a run has at most " .. STEPS_MAX .. " steps") end
  r.used[name], r.count = true, r.count + 1
end

-- The steps of earlier executions are read when the first is asked for.
local function stored(r, name)
  if not r.steps then r.steps, r.stored = host.job_steps(r.id) end
  local step = r.steps[name]
  if step and not step.result then step.result = host.job_step_result(r.id, name) end
  return step
end

-- As a later execution reads it, so that the first sees no more than that.
local function value_of(step)
  local v = host.json_decode(step.result)
  if v ~= host.null then return v end
end

-- What the run has to report goes with the next of its units: until that is committed it stays.
local function with_report(r, ops)
  local p = r.report
  if p and not r.test then ops[#ops + 1] = host.job_progress(p.fraction or -1, p.text, table.concat(p.lines)) end
  return ops
end

local function reported(r)
  if not r.test then r.report, r.reported = nil, host.now() end
end

-- Beside what the unit has of jobs already: fn may have fanned out.
local function add_to(u, ops)
  u.jobs = u.jobs or {}
  table.move(ops, 1, #ops, #u.jobs + 1, u.jobs)
end

-- The operation that stores a step; in a test it is stored then and there.
local function storing(r, name, result, how)
  local step = { name = name, ordinal = r.stored + 1, result = result, undo = how == "undo" }
  if not r.test then return step, { host.job_step(step.ordinal, name, result, how) } end
  return step, {}
end

local function store(r, step)
  r.steps[step.name], r.stored = step, r.stored + 1
  if r.test then r.test.list[#r.test.list + 1] = step end
end

local step_options = { undo = true }

function step(name, fn, options)
  local r = here("step")
  take_name(r, "step", name)
  if type(fn) ~= "function" then host.fail("invalid", "step '" .. name .. "' wants a function: step(\"" .. name .. "\", function() .. end)") end
  local undo = host.options("step", options, step_options).undo
  if undo ~= nil and type(undo) ~= "function" then host.fail("invalid", "step '" .. name .. "': undo is a function") end
  local found = stored(r, name)
  if not found and r.undoing then error(undone_up_to_here, 0) end
  if found then
    if r.undoing and undo and not found.undone then r.undoing[#r.undoing + 1] = { step = found, undo = undo } end
    return value_of(found)
  end
  local made
  r.stepping = name
  local ok, e = pcall(host.step_unit, fn, function(u, result)
    local ops
    made, ops = storing(r, name, result == nil and "null" or host.json_encode(result), undo and "undo" or "done")
    add_to(u, with_report(r, ops))
  end)
  r.stepping = nil
  if not ok then error(e, 0) end
  reported(r)
  store(r, made)
  return value_of(made)
end

-- This execution ends here; the record comes again at `at`, or when somebody wakes it.
local function pause(r, at, ops)
  if r.test then r.test.at = at end
  if #ops > 0 then
    ops[#ops + 1] = host.job_snooze(at)
    host.commit { jobs = with_report(r, ops) }
    reported(r)
    host.end_run(r.ctx, "done")
  end
  host.end_run(r.ctx, "snooze", at)
end

function sleep(name, amount)
  local r = here("sleep")
  take_name(r, "sleep", name)
  local found, ops = stored(r, name), {}
  local at = found and value_of(found)["until"]
  if not found then
    if r.undoing then error(undone_up_to_here, 0) end
    at = host.moment("sleep", amount)
    found, ops = storing(r, name, host.json_encode { ["until"] = at }, "sleep")
    if r.test then store(r, found) end
  end
  if at > host.job_now() then
    if r.undoing then error(undone_up_to_here, 0) end
    pause(r, at, ops)
  end
  if #ops > 0 then
    host.commit { jobs = with_report(r, ops) }
    reported(r)
    store(r, found)
  end
end

local wait_options = { key = true, timeout = true }

-- { at = until } or { message = .. }; nil: it does not wait yet
local function wait_read(r, name)
  if r.test then return r.test.waits[name] end
  return host.job_wait_read(r.id, name)
end

local function wait_begin(r, name, topic, key, at)
  if not r.test then return pause(r, at, { host.job_wait(name, topic, key, at) }) end
  r.test.waits[name] = { at = at, topic = topic, key = key }
  pause(r, at, {})
end

local WAIT_TRIES = 5

-- It goes on waiting, on condition that no message has come since it looked: that one would have woken a run that executes, which
-- does nothing, and nobody would wake it again.
local function wait_on(r, name, wait)
  for try = 1, WAIT_TRIES do
    if wait.message or host.job_now() >= wait.at then break end
    if r.test then pause(r, wait.at, {}) end
    local ok, e = pcall(host.commit, { jobs = with_report(r, { host.job_wait_open(name), host.job_snooze(wait.at) }) })
    if ok then
      reported(r)
      host.end_run(r.ctx, "done")
    end
    wait = type(e) == "table" and e.code == "conflict" and try < WAIT_TRIES and wait_read(r, name)
    if not wait then error(e, 0) end
  end
  return wait
end

-- The body of the message, and what is known of it; nil when none came in time.
function wait_for(name, topic, options)
  local r = here("wait_for")
  take_name(r, "wait_for", name)
  if type(topic) ~= "string" or topic == "" then
    host.fail("invalid", "wait_for '" .. name .. "' wants a topic: wait_for(\"" .. name .. "\", \"payment.settled\", { key = id })")
  end
  local o = host.options("wait_for", options, wait_options)
  local found = stored(r, name)
  if not found and r.undoing then error(undone_up_to_here, 0) end
  if not found then
    local wait, now, ops = wait_read(r, name), host.job_now(), nil
    if not wait then
      wait_begin(r, name, topic, o.key ~= nil and tostring(o.key) or nil, o.timeout ~= nil and host.moment("wait_for", o.timeout) or now + WAIT_MS)
    end
    wait = wait_on(r, name, wait)
    found, ops = storing(r, name, host.json_encode(wait.message or { late = true }), "done")
    if not r.test then
      ops[#ops + 1] = host.job_wait_end(name)
      host.commit { jobs = with_report(r, ops) }
      reported(r)
    end
    store(r, found)
  end
  local m = value_of(found)
  if not m.late then return m.body, m end
end

-- --- what the function is given beside its args ---

local FLUSH_MS, TEXT_BYTES, LOG_BYTES = 2000, 512, 64 << 10

local ctx, job_ctx = {}, { __metatable = false }
host.job_ctx = job_ctx

function job_ctx.__index(c, k)
  if k == "cancelled" then return host.job_cancelled() end
  if k == "step_key" then
    local r = under_way[host.self()]
    return r and r.stepping and r.id .. "/" .. r.stepping or nil
  end
  return ctx[k] or host.queue_ctx[k]
end

local function run_of(c)
  local r = under_way[host.self()]
  if not r or r.ctx ~= c then host.fail("invalid", "this ctx is of another run") end
  return r
end

local function flush(r)
  local ops = with_report(r, {})
  if #ops == 0 then return end
  host.commit { jobs = ops }
  reported(r)
end

local function reporting(r)
  r.report = r.report or { lines = {}, bytes = 0 }
  return r.report
end

-- At most every two seconds, and with each step and the end.
local function report_soon(r)
  if host.now() - r.reported >= FLUSH_MS then flush(r) end
end

function ctx:progress(fraction, text)
  local r = run_of(self)
  if type(fraction) ~= "number" or not (fraction >= 0 and fraction <= 1) then
    host.fail("invalid", "progress wants a fraction from 0 to 1, like ctx:progress(0.5, \"half\")")
  end
  if text ~= nil and (type(text) ~= "string" or #text > TEXT_BYTES or not utf8.len(text)) then
    host.fail("invalid", "progress: the text is UTF-8 of at most " .. TEXT_BYTES .. " bytes")
  end
  if r.undoing then return end
  local p = reporting(r)
  p.fraction, p.text = fraction, text or p.text
  if r.test then r.test.progress, r.test.text = fraction, text or r.test.text end
  report_soon(r)
end

function ctx:log(text)
  local r, line = run_of(self), tostring(text)
  if r.undoing then return end
  if not utf8.len(line) then host.fail("invalid", "log wants UTF-8; bytes are told as base64.encode(bytes)") end
  line = (#line < LOG_BYTES and line or line:sub(1, utf8.offset(line, 0, LOG_BYTES) - 1)) .. "\n"
  local p = reporting(r)
  if p.bytes + #line > LOG_BYTES then
    flush(r)
    p = reporting(r)
  end
  p.lines[#p.lines + 1], p.bytes = line, p.bytes + #line
  if r.test then r.test.log[#r.test.log + 1] = line:sub(1, -2) end
  report_soon(r)
end

-- How many there are. With a hole some would be counted on that never come.
local function list_count(list)
  local count, keys = 0, 0
  for i in ipairs(list) do count = i end
  for _ in pairs(list) do keys = keys + 1 end
  if keys ~= count then host.fail("invalid", "submit_all wants a list without holes: item " .. count + 1 .. " is nil, and others are not") end
  return count
end

local fan_options = { on_done = true, args = true }

-- One run for each of the list, and `on_done` when the last of them has ended. The ids.
function ctx:submit_all(list, options)
  run_of(self)
  local o, u, ids, fan = host.options("submit_all", options, fan_options), host.unit(), {}, nil
  if type(list) ~= "table" then host.fail("invalid", "submit_all wants a list, like { { job = \"page\", args = { n = 1 } } }") end
  local count = list_count(list)
  if o.on_done ~= nil then
    local op
    op, fan = host.job_fan(o.on_done, o.args, count)
    add_to(u, { op })
  end
  for i, one in ipairs(list) do
    if type(one) ~= "table" or type(one.job) ~= "string" then host.fail("invalid", "submit_all: item " .. i .. " names no job") end
    local how = {}
    for k, v in pairs(one) do
      if k ~= "job" and k ~= "args" then how[k] = v end
    end
    ids[i] = submit(one.job, one.args, how, fan)
  end
  return ids
end

-- --- one execution ---

local function begin(c, id, test)
  local h = c.headers
  c.scheduled_at = h["scheduled-at"]
  c.window = h["window-from"] and { from = h["window-from"], to = h["window-to"] } or nil
  return { id = id, ctx = c, test = test, reported = host.now(), steps = test and test.steps, stored = test and #test.list }
end

local function args_of(text)
  local args = host.json_decode(text)
  if args ~= host.null then return args end
end

-- The function from its beginning; conflicts may call for it several times.
local function body_of(r, run, text)
  return function()
    r.used, r.count, r.stepping = {}, 0, nil
    local ok, v = pcall(run, args_of(text), r.ctx)
    local told, e = pcall(flush, r)
    if not ok then error(v, 0) end
    if not told then error(e, 0) end
    return v
  end
end

-- Undone are the steps that the function comes by, the newest first, each as a unit with the note that it is.
local function undo_all(r, run, text)
  r.undoing, r.used, r.count = {}, {}, 0
  local ok, e = host.discarded(run, args_of(text), r.ctx)
  for i = #r.undoing, 1, -1 do
    local s = r.undoing[i].step
    r.stepping = s.name .. "/undo"
    host.step_unit(function() return r.undoing[i].undo(value_of(s)) end, function(u)
      if not r.test then add_to(u, { host.job_undone(r.id, s.ordinal) }) end
    end)
    r.stepping, s.undone = nil, true
  end
  local left = {}
  for name, s in pairs(r.steps or {}) do
    if s.undo and not s.undone then left[#left + 1] = name end
  end
  table.sort(left)
  if #left > 0 then
    error("not undone, since the function does not come by: " .. table.concat(left, ", ") .. (not ok and e ~= undone_up_to_here and "; " .. tostring(e) or ""), 0)
  end
end

local function under(r, fn, ...)
  local me = host.self()
  local outer = under_way[me]
  under_way[me] = r
  local results = table.pack(pcall(fn, ...))
  under_way[me] = outer
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

-- What host.handle() is for messages.
function host.handle_job(run, text, c, said, sums)
  local of, test = c.headers["undo-of"], rawget(c, "test")
  c.test = nil
  local r = begin(c, of or c.id, test)
  if not of then return under(r, host.work, body_of(r, run, text), said, sums) end
  under(r, undo_all, r, run, text)
  return "ack"
end

-- --- tests: job_try.lua ---

-- The function of a job, and args as it takes them.
function host.job_function(name, args)
  if functions[name] then return functions[name], host.job_args(name, args) end
end

-- One execution, or with `undoing` the undo of its steps.
function host.test_job(run, text, info, undoing)
  local test = info.test
  if not undoing then return host.handle(run, text, info) end
  info.test, info.headers = nil, host.json_decode(info.headers)
  local r = begin(setmetatable(info, job_ctx), test.id, test)
  under(r, undo_all, r, run, text)
end
