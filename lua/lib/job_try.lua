-- Runs of jobs in tests: t.run("settle", { day = "2026-05-01" }).
--
-- Steps are kept by the test itself, sleeps move its clock, and a run that waits goes on when t.publish brings what it waits
-- for or t.advance its end. Everything else is as it would be: what a step or the run writes is committed. Runs that a schedule makes
-- (job_tick.lua) do not move the clock: they sleep until it gets there.
local host = host

local EXECUTIONS_MAX = 10000

local options_known = { attempts = true, scheduled_at = true, window = true, key = true, headers = true }
local waiting = setmetatable({}, { __mode = "k" }) -- coroutine of the test -> runs that wait

local function steps_shown(state)
  local list = {}
  for i, s in ipairs(state.list) do
    local value = host.json_decode(s.result)
    list[i] = { name = s.name, result = value ~= host.null and value or nil, undone = s.undone or nil }
  end
  return list
end

local function show(run, state, outcome)
  run.outcome, run.attempt, run.steps = outcome, state.attempt, steps_shown(state)
  run.progress, run.text, run.log, run.slept = state.progress, state.text, state.log, state.slept
  run.waits_for = nil
  return run
end

local function info_of(state)
  local o, h = state.options, {}
  for k, v in pairs(o.headers or {}) do h[k] = tostring(v) end
  h["scheduled-at"] = o.scheduled_at
  if o.window then h["window-from"], h["window-to"] = o.window.from, o.window.to end
  return {
    id = state.id, queue = "job." .. state.name, key = o.key and tostring(o.key), attempt = state.attempt, deliveries = state.deliveries,
    headers = host.json_encode(h), deadline = host.now() + 900000, job = state.name, test = state,
  }
end

-- What is open of the waits of a run: its message has not come, and its time is not over.
local function open_wait(state)
  for _, w in pairs(state.waits) do
    if not w.message and not w.over then return w end
  end
end

-- It is discarded: what its steps did is undone.
local function undo(state)
  for _, s in ipairs(state.list) do
    if s.undo and not s.undone then return host.test_job(state.run, state.args, info_of(state), true) end
  end
end

local function over(state, outcome)
  if state.scheduled then host.tick_over(state, outcome) end
end

local function fail(run, state, e)
  show(run, state, "discarded")
  over(state, "discarded")
  undo(state)
  error(e, 0)
end

-- It goes on at this moment.
local function rest(run, state, outcome, at)
  show(run, state, outcome).at = at
  host.tick_sleeps(run, state, at)
  return run
end

-- Until it ends or waits.
local function go_on(run, state)
  run.at = nil
  for _ = 1, EXECUTIONS_MAX do
    state.deliveries, state.at = state.deliveries + 1, nil
    local ok, what, a, b = pcall(host.test_job, state.run, state.args, info_of(state))
    local now = host.now()
    if not ok then
      if state.attempt == state.attempts then fail(run, state, what) end
      state.attempt = state.attempt + 1
    elseif what == "ack" or what == "done" then
      show(run, state, "completed")
      over(state, "completed")
      return run
    elseif what == "reject" then
      over(state, "discarded")
      undo(state)
      run.reason = a
      return show(run, state, "discarded")
    elseif what == "nack" then
      if state.attempt == state.attempts then fail(run, state, "the run was given up by ctx:nack") end
      state.attempt = state.attempt + 1
    elseif what == "snooze" then
      local w = open_wait(state)
      if w then
        local list = waiting[host.self()] or {}
        waiting[host.self()] = list
        list[#list + 1] = { run = run, state = state, wait = w }
        show(run, state, "waiting").waits_for = w.topic
        return run
      end
      state.slept = state.slept + math.max(a - now, 0)
      if state.scheduled then return rest(run, state, "sleeping", a) end
      if a > now then host.clock(a) end
    elseif what ~= "release" then
      run.gate = b
      if state.scheduled then return rest(run, state, what, a) end
      run.at = a
      return show(run, state, what)
    end
  end
  host.fail("invalid", "t.run: job '" .. state.name .. "' has not ended after " .. EXECUTIONS_MAX .. " executions")
end

local function new_run(name, run, args, o)
  local state = {
    name = name, run = run, args = args, options = o, id = host.uuid(), attempt = 1, attempts = o.attempts or 1,
    deliveries = 0, steps = {}, list = {}, waits = {}, log = {}, slept = 0,
  }
  return { id = state.id }, state
end

function host.test_run(name, args, options)
  local run, checked = host.job_function(name, args)
  local o = host.options("t.run", options, options_known)
  if not run then host.fail("not_found", "t.run: no job of these scripts is '" .. tostring(name) .. "'") end
  return go_on(new_run(name, run, host.json_encode(checked), o))
end

-- --- for schedules: job_tick.lua ---

-- Of a job whose runs are worked outside nothing is executed: it counts as done.
local function outside() end

function host.test_new_run(name, args, options)
  local run, state = new_run(name, host.job_function(name, host.json_decode(args)) or outside, args, options)
  state.scheduled, run.outcome = true, "buffered"
  return run, state
end

host.test_go_on = go_on

-- It is asked to stop, and does: the schedule is told if it has it yet.
function host.test_cancel(run, state)
  for i, one in ipairs(waiting[host.self()] or {}) do
    if one.state == state then
      table.remove(waiting[host.self()], i)
      break
    end
  end
  show(run, state, "cancelled")
  over(state, "cancelled")
  undo(state)
end

-- --- topics ---

local function take(test)
  local list, taken = waiting[host.self()] or {}, {}
  for i = #list, 1, -1 do
    if test(list[i].wait) then table.insert(taken, 1, table.remove(list, i)) end
  end
  for _, one in ipairs(taken) do go_on(one.run, one.state) end
  return #taken
end

-- A message was published: how many runs it has woken.
function host.job_published(topic, body, options)
  local key = options and options.key ~= nil and tostring(options.key) or nil
  return take(function(w)
    if w.key and w.key ~= key or not host.topic_matches(w.topic, topic) then return false end
    w.message = { id = host.uuid(), topic = topic, key = key, body = body }
    return true
  end)
end

-- When the first of them has waited long enough; nil where none waits.
function host.job_waits_until()
  local at
  for _, one in ipairs(waiting[host.self()] or {}) do
    if not at or one.wait.at < at then at = one.wait.at end
  end
  return at
end

-- The clock of the test has moved.
function host.jobs_waited()
  take(function(w)
    w.over = w.over or w.at <= host.now()
    return w.over
  end)
end
