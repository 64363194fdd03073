-- Route: requests of HTTP clients to functions of scripts.
local host = host

local runs = {} -- name -> function, for tests

function route(name)
  if type(name) ~= "string" then host.fail("invalid", "route wants a name: route \"GET /hello/{name}\" { ... }") end
  return function(def)
    if type(def) ~= "table" then host.fail("invalid", "route '" .. name .. "': wants a table with run") end
    local options = {}
    for k, v in pairs(def) do
      if type(v) ~= "function" or k ~= "run" then options[k] = v end
    end
    host.route(name, options, def.run)
    runs[name] = def.run
  end
end

-- --- the request ---

local Request = { __metatable = false }

-- Read when it is asked for: most requests have none.
function Request.__index(req, key)
  if key ~= "json" or req.body == "" then return nil end
  local kind = (req.headers["content-type"] or ""):match("^[^;%s]*"):lower()
  if kind ~= "application/json" and not kind:find("+json", 1, true) then
    host.refuse("media_type", "the body is not declared as JSON: send 'Content-Type: application/json'")
  end
  local ok, value = pcall(host.json_decode, req.body)
  if not ok then host.refuse("invalid", "the body: " .. tostring(value.detail or value)) end
  rawset(req, "json", value)
  return value
end

local ctx = { __metatable = false }
ctx.__index = ctx

function ctx:reject(code, detail) host.refuse(code or "rejected", detail) end

local function new_ctx()
  local tenant, principal, correlation = host.who()
  return setmetatable({ tenant = tenant, principal = principal, correlation = correlation }, ctx)
end

-- --- the answer ---

local parts = { status = true, headers = true, body = true, json = true }
-- What the server itself writes, or what would let two readers of one answer disagree.
local ours = {
  ["content-length"] = true, ["transfer-encoding"] = true, ["connection"] = true, ["keep-alive"] = true, ["upgrade"] = true,
  ["trailer"] = true, ["te"] = true, ["date"] = true, ["x-correlation-id"] = true, ["x-content-type-options"] = true,
}

local function wrong(words) host.fail("internal", "the route's answer: " .. words) end

-- { status = 201, json = .. } is an answer; { status = "open" } and { status = 1, name = .. } are data.
local function is_answer(t)
  if math.type(t.status) ~= "integer" and t.body == nil and t.json == nil then return false end
  for k in pairs(t) do
    if not parts[k] then return false end
  end
  return true
end

local function lines_of(headers)
  local lines, kind = {}, nil
  if type(headers) ~= "table" then wrong("headers are a table of names and texts") end
  local function add(name, value)
    if type(value) ~= "string" and type(value) ~= "number" then wrong("header '" .. name .. "' is a " .. type(value)) end
    lines[#lines + 1] = host.header_line(name, tostring(value))
  end
  for name, value in pairs(headers) do
    if type(name) ~= "string" then wrong("headers are given by name") end
    local lower = name:lower()
    if ours[lower] then wrong("header '" .. name .. "' is written by the server") end
    if lower == "content-type" then
      host.header_line(name, tostring(value))
      kind = tostring(value)
    elseif type(value) == "table" then
      for _, one in ipairs(value) do add(name, one) end
    else
      add(name, value)
    end
  end
  return kind, table.concat(lines)
end

-- status, type, header lines, is JSON, value
local function shape(r)
  if type(r) == "string" then return 200, "text/plain; charset=utf-8", nil, false, r end
  if r == nil then return 204 end
  if type(r) ~= "table" then wrong("a text, a table or nothing, not a " .. type(r)) end
  if not is_answer(r) then return 200, "application/json", nil, true, r end
  local status, kind, lines = r.status, nil, nil
  if status == nil then status = r.body == nil and r.json == nil and 204 or 200 end
  if math.type(status) ~= "integer" or status < 200 or status > 599 then wrong("status is a number from 200 to 599") end
  if r.headers ~= nil then kind, lines = lines_of(r.headers) end
  if r.json ~= nil then
    if r.body ~= nil then wrong("body or json, not both") end
    return status, kind or "application/json", lines, true, r.json
  end
  if r.body ~= nil and type(r.body) ~= "string" then wrong("body is a text; for a table there is json") end
  if r.body == nil then return status, kind, lines, false, nil end
  return status, kind or "text/plain; charset=utf-8", lines, false, r.body
end

-- An answer of 400 and more says that nothing was done, so nothing is.
local function keeps(status) return status < 400 end

function host.serve(run, req) return host.gather(run, shape, keeps, setmetatable(req, Request), new_ctx()) end

-- --- tests: t.request("GET /hello/bob") ---

local function segments(path)
  local list = {}
  for s in path:gmatch("/([^/]*)") do list[#list + 1] = s end
  return list
end

-- Parameters, and how exactly the pattern says them (a literal before a parameter, that before the rest); or nil.
local function match(pattern, path)
  local want, got, params, rank = segments(pattern), segments(path), {}, ""
  for i, w in ipairs(want) do
    local rest, name = w:match("^{([%w_]+)%.%.%.}$"), w:match("^{([%w_]+)}$")
    if rest then
      params[rest] = table.concat(got, "/", i)
      return #got >= i and params, rank .. "3"
    end
    if not got[i] or not name and got[i] ~= w or name and got[i] == "" then return nil end
    if name then params[name] = got[i] end
    rank = rank .. (name and "2" or "1")
  end
  return #got == #want and params, rank
end

local function find(method, path)
  local best
  for name, run in pairs(runs) do
    local verb, pattern = name:match("^(%u+) (.*)$")
    local params, rank = match(pattern, path)
    if verb == method and params and (not best or rank < best.rank) then best = { run = run, params = params, rank = rank } end
  end
  return best or host.fail("not_found", "t.request: no route of these scripts is for " .. method .. " " .. path)
end

local function query_of(text)
  local query = {}
  for name, value in text:gmatch("([^&=]+)=?([^&]*)") do
    if query[name] == nil then query[name] = value end
  end
  return query
end

local request_options = { headers = true, json = true, body = true, query = true }

function host.test_request(line, options)
  local o = host.options("t.request", options, request_options)
  local method, path, query = tostring(line):match("^(%u+) (/[^?]*)%??(.*)$")
  if not method then host.fail("invalid", "t.request wants a request line like \"GET /hello/bob\"") end
  local found = find(method == "HEAD" and "GET" or method, path)
  local req = { method = method, path = path, params = found.params, query = query_of(query), headers = {}, body = o.body or "" }
  for name, value in pairs(o.query or {}) do req.query[name] = tostring(value) end
  for name, value in pairs(o.headers or {}) do req.headers[name:lower()] = tostring(value) end
  if o.json ~= nil then
    req.body = host.json_encode(o.json)
    req.headers["content-type"] = req.headers["content-type"] or "application/json"
  end
  local status, kind, lines, is_json, value = host.serve(found.run, req)
  local answer = { status = status, headers = { ["content-type"] = kind }, body = value or "" }
  for name, text in (lines or ""):gmatch("([^:]+): ([^\r]*)\r\n") do answer.headers[name:lower()] = text end
  if is_json then
    answer.body = host.json_encode(value)
    answer.json = host.json_decode(answer.body)
  end
  return answer
end
