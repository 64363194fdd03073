-- Runs of jobs in tests: t.run("settle", { day = "2026-05-01" }).
--
-- Steps are kept by the test itself, sleeps move its clock, and a run that waits goes on when t.publish brings what it waits
-- for or t.advance its end. Everything else is as it would be: what a step or the run writes is committed.
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

local function fail(state, e)
  undo(state)
  error(e, 0)
end

-- Until it ends or waits.
local function go_on(run, state)
  for _ = 1, EXECUTIONS_MAX do
    state.deliveries, state.at = state.deliveries + 1, nil
    local ok, what, a, b = pcall(host.test_job, state.run, state.args, info_of(state))
    local now = host.now()
    if not ok then
      if state.attempt == state.attempts then fail(state, what) end
      state.attempt = state.attempt + 1
    elseif what == "ack" or what == "done" then
      return show(run, state, "completed")
    elseif what == "reject" then
      undo(state)
      run.reason = a
      return show(run, state, "discarded")
    elseif what == "nack" then
      if state.attempt == state.attempts then fail(state, "the run was given up by ctx:nack") end
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
      if a > now then
        state.slept = state.slept + (a - now)
        host.clock(a)
      end
    elseif what ~= "release" then
      run.gate, run.at = b, a
      return show(run, state, what)
    end
  end
  host.fail("invalid", "t.run: job '" .. state.name .. "' has not ended after " .. EXECUTIONS_MAX .. " executions")
end

function host.test_run(name, args, options)
  local run, checked = host.job_function(name, args)
  local o = host.options("t.run", options, options_known)
  if not run then host.fail("not_found", "t.run: no job of these scripts is '" .. tostring(name) .. "'") end
  local state = {
    name = name, run = run, args = host.json_encode(checked), options = o, id = host.uuid(), attempt = 1, attempts = o.attempts or 1,
    deliveries = 0, steps = {}, list = {}, waits = {}, log = {}, slept = 0,
  }
  return go_on({ id = state.id }, state)
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

-- The clock of the test has moved.
function host.jobs_waited()
  take(function(w)
    w.over = w.over or w.at <= host.now()
    return w.over
  end)
end
