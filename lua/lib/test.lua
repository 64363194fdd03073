-- Test: what files that end in _test.lua say, and how `koan check` runs them. Each test has a ledger of its own, empty, and a
-- clock that stands still until the test moves it.
local host, null, same = host, host.null, host.same

local collecting = setmetatable({}, { __mode = "k" }) -- coroutine -> the tests of its file

function test(name, fn)
  local list = collecting[host.self()]
  if not list then host.fail("invalid", "test: stands at the top of a file that ends in _test.lua; `koan check` runs it") end
  if type(name) ~= "string" or type(fn) ~= "function" then
    host.fail("invalid", "test wants a name and a function: test(\"an order is paid\", function(t) .. end)")
  end
  for _, other in ipairs(list) do
    if other.name == name then host.fail("invalid", "test '" .. name .. "' is there twice") end
  end
  list[#list + 1] = { name = name, fn = fn }
end

-- --- what a test asks ---

local function shown(v)
  local ok, text = pcall(host.json_encode, v, true)
  return ok and text or tostring(v)
end

local function fail(words, detail) error(host.where() .. ": " .. (words and tostring(words) .. ": " or "") .. detail, 0) end

local t = { __metatable = false }
t.__index = t

function t.equal(got, want, words)
  if not same(got, want) then fail(words, "got " .. shown(got) .. ", wanted " .. shown(want)) end
end

function t.ok(value, words)
  if not value then fail(words, "got " .. tostring(value)) end
end

-- The error, so that more may be asked of it. `what` is its code, or a part of its words.
function t.fails(fn, what)
  local ok, e = pcall(fn)
  if ok then fail(nil, "no error, wanted " .. (what or "one")) end
  if what and not (type(e) == "table" and e.code == what or tostring(e):find(what, 1, true)) then
    fail(nil, "wanted " .. what .. ", got " .. tostring(e))
  end
  return e
end

local function moment(at)
  if math.type(at) == "integer" then return at end
  local ms = type(at) == "string" and host.time_parse(at)
  if not ms then host.fail("invalid", "t.clock wants a moment like \"2026-11-22T12:00:00Z\"") end
  return ms
end

function t.clock(at)
  if at == nil then return host.now() end
  local ms = moment(at)
  if ms < host.now() then host.fail("invalid", "t.clock: time goes forward only") end
  host.clock(ms)
  return host.pass(ms)
end

function t.advance(amount)
  local to = host.time_add(host.now(), amount)
  if to < host.now() then host.fail("invalid", "t.advance: time goes forward only") end
  return host.pass(to)
end

function t.next(name, n) return host.test_next(name, n) end

function t.deliver(name, body, options) return host.test_deliver(name, body, options) end

function t.publish(topic, body, options)
  local ends = host.test_publish(topic, body, options)
  host.job_published(topic, body, options)
  host.ticks_ready()
  return ends
end

function t.run(name, args, options) return host.test_run(name, args, options) end

function t.request(line, options) return host.test_request(line, options) end

-- --- running ---

function host.test_file(chunk, index)
  local me, list = host.self(), {}
  collecting[me] = list
  local ok, e = pcall(chunk)
  collecting[me] = nil
  if not ok then error(e, 0) end
  if index == 0 then
    local names = {}
    for i, one in ipairs(list) do names[i] = one.name end
    return host.json_list(names)
  end
  host.ticks_begin()
  ok, e = pcall(list[index].fn, setmetatable({}, t))
  if not ok then error(tostring(e), 0) end -- with its place, whatever raised it
  return null
end

-- --- dry runs of hooks: koan check --recent ---

function host.hooked()
  local names = {}
  for name in pairs(host.saving) do names[#names + 1] = name end
  table.sort(names)
  return host.json_list(names)
end

local system = { version = true, created_at = true, updated_at = true, created_by = true, updated_by = true }

-- The fields in which two records differ, but for those that Koan itself writes.
local function differing(a, b)
  local names = {}
  for k, v in pairs(a) do
    if not system[k] and not same(v, b[k]) then names[#names + 1] = k end
  end
  for k in pairs(b) do
    if not system[k] and a[k] == nil then names[#names + 1] = k end
  end
  table.sort(names)
  return host.json_list(names)
end

-- Each { record, text } as if it were saved again: text is the same record, so that the hook may change its own.
function host.dry_saves(entity, list)
  local out = {}
  for i, item in ipairs(list) do
    local was = host.json_decode(item.text)
    local ok, e = pcall(host.save_hook, host.saving[entity], entity, item.record, item.prior)
    out[i] = { id = was.id, error = not ok and tostring(e) or nil, changed = ok and differing(was, e) or nil }
  end
  return host.json_list(out)
end
