-- Schedules in tests: what comes due while t.advance lets time pass, and what t.clock has jumped over.
--
-- What is decided, and when, is up to the rules of a node (src/job/schedule.h), with the test's clock. Runs are executed there and
-- then, as by t.run. One that sleeps or waits stands aside until its time comes: it is still under way for whatever is due meanwhile.
local host = host

local MOVES_MAX = 10000

-- Of each test, by its coroutine. A run is { run = as the test sees it, state = job_try.lua's }; by the name of its job they are in
-- `under` (under way) or `queued` (waiting their turn). `ready` ones are next; `asleep` ones have an `at`.
local benches = setmetatable({}, { __mode = "k" })

function host.ticks_begin()
  benches[host.self()] = { schedules = host.schedules(), under = {}, queued = {}, ready = {}, asleep = {} }
end

local function bench() return benches[host.self()] end

local function list_in(of, name)
  of[name] = of[name] or {}
  return of[name]
end

local function remove(list, state)
  for i, one in ipairs(list) do
    if one.state == state then return table.remove(list, i) end
  end
end

-- --- runs ---

-- From job_try.lua: this run goes on at that moment.
function host.tick_sleeps(run, state, at)
  local list = bench().asleep
  list[#list + 1] = { run = run, state = state, at = at }
end

-- From job_try.lua: it is over. The schedule may let the next one begin.
function host.tick_over(state, outcome)
  local b, job = bench(), state.name
  if not remove(list_in(b.under, job), state) then return end
  if not host.schedule_ended(b.schedules, job, outcome) then return end
  local one = table.remove(list_in(b.queued, job), 1)
  table.insert(list_in(b.under, job), one)
  table.insert(b.ready, one)
end

local function work_ready(b)
  while #b.ready > 0 do
    local one = table.remove(b.ready, 1)
    host.test_go_on(one.run, one.state)
  end
end

-- A message has been published and runs have ended over it.
function host.ticks_ready() work_ready(bench()) end

-- Those under way are stopped; `ask`: and the schedule hears of it.
local function stop(b, job, ask)
  for _, one in ipairs(table.move(list_in(b.under, job), 1, #b.under[job], 1, {})) do
    remove(b.asleep, one.state)
    if not ask then remove(b.under[job], one.state) end
    host.test_cancel(one.run, one.state)
  end
end

local function begin(b, decision, action)
  local job = decision.job
  local run, state = host.test_new_run(job, action.args, { scheduled_at = decision.due, window = decision.window })
  local one = { run = run, state = state }
  if action.drop then
    for _, other in ipairs(list_in(b.queued, job)) do other.run.outcome = "cancelled" end
    b.queued[job] = {}
  end
  table.insert(list_in(action.start == "now" and b.under or b.queued, job), one)
  return one
end

local function decide(b, name, happened)
  local decision, action = host.schedule_tick(b.schedules, name)
  happened[#happened + 1] = decision
  if action.stop == "now" then stop(b, name, false) end
  if not action.start then return end
  local one = begin(b, decision, action)
  decision.run = one.run
  if action.stop == "ask" then stop(b, name, true) end
  if action.start == "now" then host.test_go_on(one.run, one.state) end
end

-- --- time ---

-- What is next: when, and what it is. Runs come before what is decided at the same moment, for they may be over by then.
local function earliest(b)
  local at, what = host.job_waits_until(), "waits"
  local first
  for _, one in ipairs(b.asleep) do
    if not at or one.at < at then at, what, first = one.at, "asleep", one end
  end
  local name, due = host.schedule_next(b.schedules)
  if due and (not at or due < at) then return due, "due", name end
  return at, what, first
end

-- All that happens up to this moment, each at its time, or now if that is over. What was decided.
function host.pass(to)
  local b, happened, last = bench(), {}, nil
  for _ = 1, MOVES_MAX do
    work_ready(b)
    local at, what, which = earliest(b)
    if not at or at > to then
      if to > host.now() then host.clock(to) end
      return happened
    end
    if at > host.now() then host.clock(at) end
    if what == "due" then
      last = which
      decide(b, which, happened)
    elseif what == "asleep" then
      remove(b.asleep, which.state)
      host.test_go_on(which.run, which.state)
    else
      host.jobs_waited()
    end
  end
  host.fail("too_large", "more than " .. MOVES_MAX .. " things have happened on the way" .. (last and ", the last of them job '" .. last .. "'" or "")
    .. ": let time pass in smaller steps, or jump with t.clock")
end

local NEXT_MAX = 100

-- When the job is due next, and the times behind it if `n` says how many.
function host.test_next(name, n)
  if n ~= nil and (math.type(n) ~= "integer" or n < 1 or n > NEXT_MAX) then
    host.fail("invalid", "t.next wants a number of times from 1 to " .. NEXT_MAX)
  end
  local list = host.schedule_coming(bench().schedules, tostring(name), n or 1)
  if not list then host.fail("not_found", "t.next: no job of these scripts is '" .. tostring(name) .. "' and has a schedule") end
  return n and list or list[1]
end
