-- Http: requests as scripts write them.
local host = host

local known = {
  headers = true, query = true, body = true, json = true, form = true, bearer = true, timeout = true, redirects = true, max = true,
}
-- What the client itself writes, or what would let two readers of one request disagree.
local ours = {
  ["host"] = true, ["content-length"] = true, ["transfer-encoding"] = true, ["connection"] = true, ["te"] = true, ["upgrade"] = true,
  ["expect"] = true, ["trailer"] = true, ["keep-alive"] = true, ["proxy-connection"] = true,
}
local secret = { ["authorization"] = true, ["cookie"] = true, ["proxy-authorization"] = true, ["x-api-key"] = true }
local plain = { string = true, number = true, boolean = true }

local function refuse(what, words) host.fail("invalid", "http: " .. what .. ": " .. words) end

local function sorted(t)
  local names = {}
  for name in pairs(t) do
    if type(name) ~= "string" then refuse("headers, query and form", "are given by name") end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- "a=1&b=x&b=y"; a list gives its name several times.
local function pairs_text(t, what)
  local parts = {}
  local function add(name, value)
    if not plain[type(value)] then refuse(what, "'" .. name .. "' is a " .. type(value) .. "; texts, numbers and booleans only") end
    parts[#parts + 1] = host.url_encode(name) .. "=" .. host.url_encode(tostring(value))
  end
  if type(t) ~= "table" then refuse(what, "is a table of names and values") end
  for _, name in ipairs(sorted(t)) do
    if type(t[name]) == "table" then
      for _, value in ipairs(t[name]) do add(name, value) end
    else
      add(name, t[name])
    end
  end
  return table.concat(parts, "&")
end

local function with_query(url, query)
  if query == nil then return url end
  local text, before, fragment = pairs_text(query, "query"), url:match("^([^#]*)(.*)$")
  if text == "" then return url end
  return before .. (before:find("?", 1, true) and "&" or "?") .. text .. fragment
end

local function body_of(o)
  local count = (o.body ~= nil and 1 or 0) + (o.json ~= nil and 1 or 0) + (o.form ~= nil and 1 or 0)
  if count > 1 then refuse("body, json, form", "give one of them") end
  if o.json ~= nil then return host.encode(o.json), "application/json" end
  if o.form ~= nil then return pairs_text(o.form, "form"), "application/x-www-form-urlencoded" end
  if o.body ~= nil and type(o.body) ~= "string" then refuse("body", "is a text; for a table there are json and form") end
  return o.body
end

local function headers_of(o, content_type)
  local lines, secrets, has = {}, {}, {}
  for _, name in ipairs(sorted(o.headers or {})) do
    local lower, value = name:lower(), o.headers[name]
    if ours[lower] then refuse("headers", "'" .. name .. "' is written by the client") end
    if not plain[type(value)] then refuse("headers", "'" .. name .. "' is a " .. type(value)) end
    has[lower] = true
    local to = secret[lower] and secrets or lines
    to[#to + 1] = host.header_line(name, tostring(value))
  end
  if o.bearer ~= nil then
    if has.authorization then refuse("bearer", "there is an Authorization header already") end
    secrets[#secrets + 1] = host.header_line("Authorization", "Bearer " .. tostring(o.bearer))
  end
  if content_type and not has["content-type"] then lines[#lines + 1] = "Content-Type: " .. content_type .. "\r\n" end
  if not has["accept"] then lines[#lines + 1] = "Accept: */*\r\n" end
  if not has["user-agent"] then lines[#lines + 1] = "User-Agent: koan\r\n" end
  return table.concat(lines), table.concat(secrets)
end

local answer = { __metatable = false }
answer.__index = answer

function answer:json()
  local ok, value = pcall(host.json_decode, self.body)
  if not ok then
    host.fail("invalid", "http: the answer of " .. self.url .. " (" .. self.status .. ") is no JSON: " .. tostring(value.detail or value))
  end
  return value
end

local function timeout_of(o)
  local t = o.timeout
  if t == nil then return 10000 end
  if type(t) == "string" then return host.duration(t) end
  if type(t) ~= "number" then refuse("timeout", "is a text like \"5s\", or seconds") end
  return math.ceil(t * 1000)
end

local function request(method, url, options)
  host.outside_tx("http")
  if type(url) ~= "string" then refuse("url", "is a text, not a " .. type(url)) end
  local o = host.options("http", options, known)
  local body, content_type = body_of(o)
  local headers, secrets = headers_of(o, content_type)
  local status, got, text, final = host.http {
    method = method, url = with_query(url, o.query), headers = headers, secret_headers = secrets, body = body,
    timeout = timeout_of(o), redirects = o.redirects or 5, max = o.max or 10 << 20,
  }
  return setmetatable({ status = status, ok = status >= 200 and status < 300, headers = got, body = text, url = final }, answer)
end

http = {}
for _, method in ipairs { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" } do
  http[method:lower()] = function(url, options) return request(method, url, options) end
end
host.freeze(http)
