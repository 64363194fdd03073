---@meta
-- What scripts of Koan see, for editors (lua-language-server): put `lua/meta` into "workspace.library". A test holds
-- this page and the program together: what is here is there, and the other way round.
--
-- Besides: Lua 5.4's string (without dump; with tidy), table, math (without randomseed), utf8, os.time, os.date, os.clock,
-- os.difftime, select, pcall, error, assert, pairs, ipairs, next, type, tostring, tonumber, rawequal, rawget, rawset,
-- rawlen, setmetatable, getmetatable, require (of files of the set, at the top of a file).

---@class stringlib
local stringlib = {}
---What a value of somebody else's list says: a text with one space between its words and none around them, a number as
---it is written. Nil when that is nothing, when `nulls` has it, and for what is neither text nor number.
---@param v any
---@param nulls? table<string, boolean> texts that say nothing: { ["-"] = true, ["N/A"] = true }
---@return string?
function stringlib.tidy(v, nulls) end

-- --- declaring entities ---

---@class Field
---@class FieldOptions
---@field required? boolean
---@field search? boolean its words are found by q; of text, email, url and choice
---@field default? any
---@field unique? boolean
---@field index? boolean
---@field min? number|string
---@field max? number|string characters of text, bytes, items of a list, or the greatest value
---@field pattern? string a regular expression that the whole text must match

---@param options FieldOptions
---@return Field
function text(options) end

---@param options FieldOptions
---@return Field
function int(options) end

---@param options FieldOptions
---@return Field
function number(options) end

---Exact, up to 38 digits; a text like "12.50".
---@param options FieldOptions
---@return Field
function decimal(options) end

---@param options FieldOptions
---@return Field
function bool(options) end

---@param options FieldOptions
---@return Field
function date(options) end

---@param options FieldOptions
---@return Field
function email(options) end

---@param options FieldOptions
---@return Field
function url(options) end

---One of the texts listed first: choice { "free", "pro", default = "free" }.
---@param options FieldOptions|string[]
---@return Field
function choice(options) end

---{ lat = .., lon = .. }
---@param options FieldOptions
---@return Field
function geo(options) end

---Bytes as base64.
---@param options FieldOptions
---@return Field
function bytes(options) end

---list { text { max = 40 }, max = 10 }; also of references: list { of = ref { "Tag" } }
---@param options FieldOptions|Field[]
---@return Field
function list(options) end

---map { int }: texts to values of one kind.
---@param options FieldOptions|Field[]
---@return Field
function map(options) end

---@class RefOptions: FieldOptions
---@field to? string the entity; also as the first item
---@field on_remove? "restrict"|"null"|"cascade"|"none" what the removal of the target does; restrict without
---@field check? boolean false: the target need not exist
---@field inverse? string under this name the target finds these: with=NAME

---The id of a record of another entity: ref { "Customer", on_remove = "cascade" }
---@param options RefOptions|string[]
---@return Field
function ref(options) end

---@alias Moment integer|string milliseconds since 1970, or a text like "2026-11-22T13:57:14Z" or "2026-11-22"

---A kind (`at = time`), and time itself, in UTC. What is reckoned with a moment comes back in the form it had.
time = {
  ---@return integer now
  now = function() end,
  ---@param text string RFC 3339
  ---@return integer? ms nil when it is not a time
  parse = function(text) end,
  ---@param moment? Moment now, without
  ---@param pattern? string %Y %m %d %H %M %S %L (ms) %j %u %A %a %B %b %%; RFC 3339 without
  ---@return string text
  format = function(moment, pattern) end,
  ---@param moment Moment
  ---@return { year: integer, month: integer, day: integer, hour: integer, minute: integer, second: integer, ms: integer, weekday: integer, yearday: integer }
  parts = function(moment) end,
  ---The 31st of a shorter month is its last day.
  ---@generic T: integer|string
  ---@param moment T
  ---@param amounts { years?: integer, months?: integer, weeks?: integer, days?: integer, hours?: integer, minutes?: integer, seconds?: integer, ms?: integer }|string|integer "1h30m", "-7d", or milliseconds
  ---@return T
  add = function(moment, amounts) end,
  ---@param a Moment
  ---@param b Moment
  ---@param unit? "ms"|"seconds"|"minutes"|"hours"|"days"|"weeks"
  ---@return number a - b
  diff = function(a, b, unit) end,
  ---@param text string "250ms", "1h30m", "7d"
  ---@return integer ms
  duration = function(text) end,
}

---A kind (`extra = json`), and JSON texts.
json = {
  null = {}, ---@type any stands for null in lists and patches
  ---@param value any
  ---@param options? { sorted?: boolean, pretty?: boolean } sorted: equal values give equal texts
  ---@return string
  encode = function(value, options) end,
  ---@param text string
  ---@param options? { nulls?: boolean } null fields are absent, or json.null with nulls
  ---@return any value
  decode = function(text, options) end,
  ---Marks a table as a list, so that an empty one is [] and not {}.
  ---@param t table
  ---@return table
  list = function(t) end,
}

---A kind (`ref = uuid { unique = true }`); without options a new id, version 7.
---@param options? FieldOptions
---@return string|Field
function uuid(options) end

---@class HookContext
---@field tenant string
---@field principal string
---@field correlation? string
local HookContext = {}
---Refuse: 422 with this code.
---@param code string
---@param detail? string
function HookContext:reject(code, detail) end
---The field stays as it was before.
---@param field string
function HookContext:protect(field) end

---@class EntityDefinition
---@field fields table<string, Field>
---@field index? (string[]|table)[] { { "tier", "-created_at" } }
---@field path? string the name in URLs
---@field require_version? boolean
---@field lease_required? boolean a record is changed only by who holds its lease: with_lease, X-Koan-Lease
---@field soft_remove? boolean|string how long removed records are kept; true: "30d"
---@field ttl? boolean|string records have expires_at; a duration is the default, from creation
---@field feed? boolean false: its changes cannot be followed
---@field history? boolean|string|{ keep?: string, versions?: integer } replaced versions; true: "30d" and 100
---@field access? { read?: string, write?: string, remove?: string } "public" or "signed-in" each
---@field migrate? fun(old: table): table the new record of an old one, where the definition takes less than before; may reject()
---@field view? fun(e: table, ctx: HookContext): table? fields to add where the record is read over HTTP
---@field before_save? fun(e: table, prior: table?, ctx: HookContext) shapes or refuses e; writes nothing else
---@field before_remove? fun(prior: table, ctx: HookContext)

---@class Record
---@field id string
---@field version integer
local Record = {}
---Creates or replaces the whole record.
---@return Record
---@param options? WriteOptions
function Record:save(options) end
---Changes by name (json.null removes), or a list of JSON-patch operations.
---@param changes table
---@param options? WriteOptions
---@return Record
function Record:patch(changes, options) end
---@param options? WriteOptions
function Record:remove(options) end

---@class WriteOptions
---@field if_version? integer the change holds only if the record has this version

---@class Query
---@field filter? table
---@field q? string words to search for, the last as a prefix
---@field sort? string "-total,name"
---@field fields? string "name,tier"
---@field page? integer
---@field page_size? integer at most 200
---@field cursor? string of the page before
---@field count? "none"|"some"|"exact"
---@field removed? "only" what was removed and can be restored, instead
---@field with? string|string[] "customer,lines.product": refs, lists of refs and inverses, in `_with` of each record

---@class Entity
---@field name string
---@overload fun(definition: EntityDefinition): Entity
local Entity = {}
---@param id string|string[] a list gives a list, with gaps for missing ones
---@param options? { with: string|string[] }
---@return Record?|Record[]
function Entity.get(id, options) end
---Defaults, and these fields; not saved.
---@param fields? table
---@return Record
function Entity.new(fields) end
---@param query? Query
---@return Record[], { more: boolean, cursor: string?, total: integer?, at_least: boolean? }
function Entity.query(query) end
---for e in E.each { filter = { .. } } do .. end: all matches, out of one snapshot.
---@param query? Query
---@return fun(): Record?
function Entity.each(query) end
---@param query? { filter: table?, q: string?, removed: "only"? }
---@return integer
function Entity.count(query) end
---@class Replaced
---@field version integer
---@field replaced_at string
---@field replaced_by string
---@field how "save"|"patch"|"remove"|"expire"|"cascade"|"detach"|"migrate"
---@field why? string
---@field correlation? string
---@field fields string[] that the next version has otherwise

---Of an entity with history: what was replaced, the newest first; or the record as it was at a version, nil when that
---is not kept.
---@param id string
---@param version? integer
---@return Replaced[]|Record|nil
function Entity.history(id, version) end
---@param id string
---@param options? WriteOptions
function Entity.remove(id, options) end
---Of an entity with soft_remove: what was removed comes back.
---@param id string
---@return Record? nil inside tx
function Entity.restore(id) end
---Of an entity with soft_remove: what was removed goes for good, with its history. `confirm` is the id again.
---@param id string
---@param options { confirm: string }
function Entity.purge(id, options) end
---All or none, at most 1 000.
---@param records table[]
---@return Record[]
function Entity.save_all(records) end
---An empty filter wants `confirm`, the name of the entity; with dry_run nothing is removed.
---@param which (string|Record)[]|{ filter: table, confirm?: string, dry_run?: boolean }
---@return integer removed
function Entity.remove_all(which) end
---Runs fn while nobody else holds the lease "entity/{name}/{id}": with the record as it is then, nil if it is not there. Waited for
---as a mutex; what is written inside holds only under it. Where the entity says lease_required, the way to change a record.
---@param id string|Record
---@param options LeaseOptions|fun(record: Record?, held: Held): ... may be left out
---@param fn? fun(record: Record?, held: Held): ...
---@return any ... what fn returned
function Entity.with_lease(id, options, fn) end
---The records of a filter into another partition, as one unit of at most 500.
---@param options { filter: table, from?: string, to?: string }
---@return integer count
function Entity.copy(options) end
---The same, and they are removed where they were.
---@param options { filter: table, from?: string, to?: string }
---@return integer count
function Entity.move(options) end
---The same entity with the records of a partition: Customer.partition("draft").get(id)
---@param name string
---@return Entity
function Entity.partition(name) end
---@class MirrorResult
---@field id string
---@field difference? "only_in_source"|"only_in_target"|"differs"
---@field into? "source"|"target"
---@field outcome "created"|"updated"|"unchanged"|"reported"

---Both partitions alike: what one lacks is copied to it; where they differ `prefer` decides (latest, if not said), or
---only reports. One unit, at most 500 records.
---@param options { filter: table, from?: string, to?: string, prefer?: "latest"|"source"|"target"|"report" }
---@return { results: MirrorResult[], matched: integer, changed: integer }
function Entity.mirror(options) end

---entity "Customer" { fields = { name = text { required = true } } }
---@param name string
---@return Entity
function entity(name) end

-- --- units of work ---

---All saves, patches and removes inside commit together, if what was read by id is still the same; else fn runs again,
---up to five times. Returns what fn returns.
---@generic T
---@param fn fun(...): T
---@return T
function tx(fn, ...) end

---Leave with an error that callers see as 422 with this code.
---@param code string
---@param detail? string
function reject(code, detail) end

-- --- routes ---

---@class Request
---@field method string "GET", "HEAD", ...
---@field path string as it was sent
---@field params table<string, string> of the pattern
---@field query table<string, string> the first value of each name
---@field headers table<string, string> names in lower case
---@field body string "" without
---@field json any the body as a value, nil without; an error (400, 415) when it is none
local Request = {}

---@class RouteContext
---@field tenant string
---@field principal string "public" for whoever brings no token to a public route
---@field correlation string
local RouteContext = {}
---Answer with an error: 422 with this code, or the status of a code of Koan's own ("not_found").
---@param code string
---@param detail? string
function RouteContext:reject(code, detail) end

---@class Answer
---@field status? integer 200 to 599; 200 without, or 204 where there is no body either
---@field headers? table<string, string|number|string[]>
---@field json? any
---@field body? string text/plain unless headers say otherwise

---@class RouteDefinition
---@field run fun(req: Request, ctx: RouteContext): Answer|table|string|nil a text, a table as JSON, or a whole answer
---@field access? "public"|"signed-in" signed-in without
---@field timeout? string|number "10s" or seconds; 30 s without, at most 5 minutes
---@field body_max? string|integer "64KiB" or bytes; 10 MiB without, and at most
---@field summary? string for /openapi.json

---An HTTP route: route "GET /hello/{name}" { run = function(req, ctx) return { hello = req.params.name } end }
---What it writes commits as one unit before the answer is sent; not at all after an error, or with a status of 400 and
---more.
---@param name string method and path; {name} is one segment, {name...} at the end all that follows
---@return fun(definition: RouteDefinition)
function route(name) end

-- --- canon ---

---@class StageContext
---@field origin string
---@field source_id string
---@field tenant string
---@field principal string
local StageContext = {}
---Waits for a person; `evidence` is shown to them. With reason "PARENT_NOT_FOUND" and evidence
---`{ model = "Country", key = { code = "PT" } }` it goes on by itself when a golden record of that
---model has one of the keys that these fields give.
---@param reason string
---@param evidence? any
function StageContext:park(reason, evidence) end
---Cannot be right: the arrival has failed.
---@param code string
---@param detail? string
function StageContext:reject(code, detail) end
---Not wanted: nothing is kept but the count.
---@param reason? string
function StageContext:drop(reason) end
---Calls `fn` once for this arrival and keeps what it returns with it; every later run of the stages gets that.
---Whatever asks somebody outside belongs in here.
---@generic T
---@param name string
---@param fn fun(): T
---@return T
function StageContext:memo(name, fn) end
---@param name string
---@param value? any true, without
function StageContext:tag(name, value) end
---A second shape of the golden record.
---@param name string
---@param view table
function StageContext:view(name, view) end

---@alias Policy "latest"|"first"|"min"|"max"|"longest"|"most_complete"|"majority"|"union"|"manual"|table

---@class ModelDefinition
---@field sources table<string, { rank: integer }>
---@field keys (string|table)[] "tax_id:digits", { "name:name", "birth_date" }, { "iata", function(v) ... end }
---@field policy? table<string, Policy>
---@field group? table<string, string[]>
---@field on_collision? "merge"|"park"
---@field stages? { intake?: (fun(a: table, ctx: StageContext): table?), validate?: (fun(a: table, ctx: StageContext): table?), project?: fun(g: table, ctx: StageContext) }

---@class Model
---@field name string
---@overload fun(definition: ModelDefinition): Model
local Model = {}
---With `mode` it is a message of the unit that runs, and worked later ("queue") or when a person has let it in ("stage").
---@param data table what the source says
---@param options? { origin: string, source_id: string?, observed_at: string?, tags: table?, skip_distribution: boolean?, mode: "queue"|"stage"|nil }
---@return { outcome: string, id: string?, version: integer?, reason: string?, changes: table?, record: string?, queue: string? }
function Model:arrive(data, options) end
---Follows merges.
---@param id string
---@return Record?
function Model:get(id) end
---The golden record that has one of the keys which these fields give.
---@param fields table { code = "PT" }
---@return Record?
function Model:find(fields) end
---Who said what, and why it won.
---@param id string
---@param with? string another id: the keys that both share
---@return table
function Model:why(id, with) end

---@param name string
---@return Model
function canon(name) end

---The highest of these sources that stated the field, even as null.
---@param ranks table { "erp", "crm", fallback = "latest" }
---@return Policy
function source_of_truth(ranks) end

-- --- plain things ---

log = {
  ---@param message string
  ---@param fields? table
  debug = function(message, fields) end,
  ---@param message string
  ---@param fields? table
  info = function(message, fields) end,
  ---@param message string
  ---@param fields? table
  warn = function(message, fields) end,
  ---@param message string
  ---@param fields? table
  error = function(message, fields) end,
}

---@alias Form "hex"|"base64"|"base64url"|"raw" hex, without

crypto = {
  ---@param bytes string
  ---@param form? Form
  ---@return string
  sha256 = function(bytes, form) end,
  ---HMAC-SHA-256, as webhooks are signed.
  ---@param key string
  ---@param bytes string
  ---@param form? Form
  ---@return string
  hmac = function(key, bytes, form) end,
  ---@param count integer at most 65 536
  ---@param form? Form
  ---@return string
  random = function(count, form) end,
  ---In a time that does not tell where they differ.
  ---@param a string
  ---@param b string
  ---@return boolean
  equal = function(a, b) end,
}

csv = {
  ---Rows by the names of the first line, or lists with header = false.
  ---@param text string
  ---@param options? { header?: boolean, separator?: string }
  ---@return table[] rows, string[] columns
  parse = function(text, options) end,
  ---@param rows table[] by name, or lists
  ---@param options? { columns?: string[], header?: boolean, separator?: string } columns: all names, sorted, without
  ---@return string
  format = function(rows, options) end,
}

---@class HttpOptions
---@field headers? table<string, string|number|boolean>
---@field query? table<string, any> appended to the URL; a list gives its name several times
---@field json? any sent as JSON
---@field form? table<string, any> sent as a form
---@field body? string sent as it is, at most 10 MiB
---@field bearer? string Authorization: Bearer; like Cookie not carried to another origin
---@field timeout? string|number "5s" or seconds; 10 s without, at most 60 s
---@field redirects? integer 5 without; 0 hands the redirect to you
---@field max? integer bytes of the answer, at most 10 MiB

---@class HttpAnswer
---@field status integer
---@field ok boolean 200 to 299
---@field headers table<string, string> names in lower case
---@field body string
---@field url string after redirects
local HttpAnswer = {}
---The body as a value; an error when it is none.
---@return any
function HttpAnswer:json() end

---Requests to other hosts. The script waits, its thread does not. Not inside tx; in a stage of canon only inside
---ctx:memo. No answer is an error (unavailable, timeout, forbidden, too_large); any status is an answer.
http = {
  ---@param url string
  ---@param options? HttpOptions
  ---@return HttpAnswer
  get = function(url, options) end,
  ---@param url string
  ---@param options? HttpOptions
  ---@return HttpAnswer
  head = function(url, options) end,
  ---@param url string
  ---@param options? HttpOptions
  ---@return HttpAnswer
  post = function(url, options) end,
  ---@param url string
  ---@param options? HttpOptions
  ---@return HttpAnswer
  put = function(url, options) end,
  ---@param url string
  ---@param options? HttpOptions
  ---@return HttpAnswer
  patch = function(url, options) end,
  ---@param url string
  ---@param options? HttpOptions
  ---@return HttpAnswer
  delete = function(url, options) end,
}

---What the configuration says under `app`, or KOAN_APP_NAME: config.rate. A name that is not set is an error.
---@type table<string, any>
config = {
  ---@param path string "rate", "mail.from"
  ---@param default? any
  ---@return any
  get = function(path, default) end,
}

---Is the feature on, for whom? Defined under `flags` in the configuration; one that is not defined is off, and reported.
---@param name string
---@param ctx? string|{ key?: string, tenant?: string, labels?: table<string, string> } a text is the key
---@return boolean
function flag(name, ctx) end

base64 = {
  ---@param bytes string
  ---@param url? boolean the alphabet for URLs, without padding
  ---@return string
  encode = function(bytes, url) end,
  ---@param text string
  ---@param url? boolean
  ---@return string
  decode = function(text, url) end,
}

-- --- what all share: counters and small values ---

counter = {
  ---Exact: the counter with n, 1 without. In a unit (tx, a request, a message) it is part of it: the unit holds only while
  ---nobody else has counted meanwhile, and is repeated else. { block = 100 } reserves numbers at once, also in a unit.
  ---@param name string
  ---@param n? integer|{ block: integer }
  ---@return integer count of a block its first number
  ---@return integer? last of a block
  add = function(name, n) end,
  ---0 of one that nobody has added to. In a unit it is a condition, as a record that is read.
  ---@param name string
  ---@return integer
  get = function(name) end,
}

---@class PutOptions
---@field ttl? string|number "10m" or seconds; for ever without
---@field if_version? integer only this version is replaced; else version_mismatch
---@field nx? boolean only if it is not there
---@field xx? boolean only if it is there

kv = {
  ---In a unit a condition: it holds only while the value is still so, and is repeated else.
  ---@param key string
  ---@return any value nil: not there
  ---@return integer? version none of what the unit itself has put
  get = function(key) end,
  ---@param key string 1 to 512 bytes
  ---@param value any as JSON, at most 256 KiB
  ---@param options? PutOptions
  ---@return integer? version nil in a unit, whose commit makes it
  put = function(key, value, options) end,
  ---@param key string
  ---@param options? { if_version?: integer }
  ---@return boolean was_there
  remove = function(key, options) end,
  ---What is committed, without the values.
  ---@param prefix? string
  ---@param options? { after?: string, limit?: integer } after: the last key of the page before; limit: at most, and without it, 1,000
  ---@return { key: string, version: integer, bytes: integer, updated_at: string, expires_at: string? }[]
  ---@return boolean more
  list = function(prefix, options) end,
}

---@class LimitOptions
---@field rate integer tokens that come each `per`, 1 to 1,000,000
---@field per? string|number "1s" without, at most "24h"
---@field burst? integer that many at once; rate without
---@field exact? boolean each take is an entry of the ledger; else it is decided in memory, and the ledger hears of it once a second

---@class Limit
local Limit = {}
---Waits for its turn, as long as what runs may go on and at most 60 s; rate_limited if that is not enough. Not inside tx.
---@param n? integer tokens, 1 without
---@return integer left
function Limit:take(n) end
---Without waiting.
---@param n? integer
---@return boolean taken
---@return integer? wait_ms until it may be tried again
function Limit:try(n) end

---One bucket of this name for all scripts and for /api/limits: limit("crm-api", { rate = 100, per = "1s" }):take()
---@param name string
---@param options LimitOptions
---@return Limit
function limit(name, options) end

-- --- what only one may do at a time ---

---@class LeaseOptions
---@field ttl? string|number how long it lasts without its holder, "1s" to "24h"; "30s" without. It is renewed at a third of that
---@field wait? string|number for its turn, at most "60s" and as long as what runs may go on
---@field owner? string for people who look at it; the principal without
---@field meta? any for people, at most 4 KiB as JSON

---@class Held
---@field name string
---@field token integer grows with each grant: systems outside refuse a smaller one than they have seen

---Runs fn while nobody else holds the lease of this name, here or over /api/leases, and gives it back whatever happens. What is
---committed inside holds only while it is held (`fenced`); once it is lost, what waits next raises `lease_lost`. Without `wait` it is
---`locked` at once while somebody has it. In a route or handler that notes something inside, it is given back with their unit. Not inside tx.
---@param name string 1 to 512 bytes
---@param options LeaseOptions|fun(held: Held): ... may be left out
---@param fn? fun(held: Held): ...
---@return any ... what fn returned
function lease(name, options, fn) end
---A lease that is waited for: 60 s, or as long as what runs may go on.
---@param name string
---@param options LeaseOptions|fun(held: Held): ...
---@param fn? fun(held: Held): ...
---@return any ...
function mutex(name, options, fn) end
---At most n at a time; waited for as a mutex.
---@param name string
---@param n integer 1 to 10,000, the same for all who use it
---@param options LeaseOptions|fun(held: Held): ...
---@param fn? fun(held: Held): ...
---@return any ...
function semaphore(name, n, options, fn) end

---Runs fn once this script is elected: as mutex. Others follow who is by leader().
---@param name string
---@param options LeaseOptions|fun(held: Held): ...
---@param fn? fun(held: Held): ...
---@return any ...
function election(name, options, fn) end

---@class Leader
---@field id string
---@field token integer
---@field owner string
---@field since string
---@field expires string unless renewed
---@field meta? any

---Who holds the lease of this name; nil: nobody. With `unlike`, the token of who is known to hold it (0: nobody), it waits until that
---is another, at most `wait`, "20s" without.
---@param name string
---@param options? { unlike?: integer, wait?: string|number }
---@return Leader?
function leader(name, options) end

---@class Rwlock
local Rwlock = {}
---With other readers, without a writer. A writer who waits stops those who come later.
---@param options LeaseOptions|fun(held: Held): ...
---@param fn? fun(held: Held): ...
---@return any ...
function Rwlock:read(options, fn) end
---Alone.
---@param options LeaseOptions|fun(held: Held): ...
---@param fn? fun(held: Held): ...
---@return any ...
function Rwlock:write(options, fn) end

---rwlock("index"):read(function() ... end)
---@param name string
---@return Rwlock
function rwlock(name) end

-- --- what was expensive to find out ---

---@class CacheOptions
---@field ttl? string|number how long it is fresh, "5m" without
---@field stale_for? string|number so much longer the old value serves while one caller fills it anew; both at most 30 days
---@field tags? string[] at most 16; cache.flush(tag) makes all that have it worthless

---The value of this name, or what fill finds out: one at a time fills, in the whole cluster, and the others wait for him; after 5 s they
---fill alone. At most 256 KiB as JSON; nil is not kept. If fill fails the old value serves as long as stale_for says. Not inside tx.
---@overload fun(name: string, options?: CacheOptions, fill: fun(): any): any
cache = {
  ---All values with this tag are found out anew, also those that are being filled now.
  ---@param tag string 1 to 128 bytes
  flush = function(tag) end,
}

-- --- queues ---

---@class SendOptions
---@field key? string|integer one message of a key is worked at a time, in the order of sending
---@field delay? string|number "10m" or seconds
---@field run_at? Moment instead of delay
---@field dedup? string a second one within the queue's dedup_window is not sent: the id is that of the first
---@field unique? string|{ key: string, mode?: "skip"|"replace"|"merge" } one waiting message of this key
---@field priority? integer 0..31, higher first; 4 without
---@field ttl? string|number not begun by then: discarded as expired
---@field deadline? string|number in snoozes and closed gates for longer than that: discarded; 24 h without
---@field attempts? integer 5 without
---@field backoff? string|number|(string|number)[] the first wait, which doubles, or a list of waits; "3s" without
---@field timeout? string|number of one run; 60 s without
---@field lane? string
---@field needs? table<string, string|integer|boolean> labels
---@field gate? string|string[] at most 4
---@field headers? table<string, string>

---@class QueueOptions
---@field attempts? integer and, as at send, backoff, timeout, ttl, deadline, priority, lane, gate, needs: for messages that do not say, whoever sends them
---@field backoff? string|number|(string|number)[] a list may be a text, "1s,10s"
---@field timeout? string|number
---@field ttl? string|number
---@field deadline? string|number
---@field priority? integer
---@field lane? string
---@field gate? string|string[]
---@field needs? table<string, string|integer|boolean>
---@field max? integer waiting messages
---@field max_bytes? string|integer of them
---@field body_max? string|integer of one body; 1 MiB without, at most 4 MiB
---@field overflow? "refuse"|"drop_oldest" what a send to a full queue does
---@field dead_to? string the queue that discarded messages move to; without, they stay
---@field on_dead? "go_on"|"halt" whether a key waits for a decision when its message is discarded
---@field manual? boolean worked by people
---@field due? string|number of a manual queue: when a message is due after it was sent
---@field keep? string|{ completed?: string, discarded?: string, count?: integer } "7d" is of discarded ones; 30 d without
---@field concurrency? integer runs at once, in the whole cluster
---@field dedup_window? string|number 10 min without

---Declares a queue: queue "mail" { attempts = 8 }
---@param name string letters, digits and . _ -
---@return fun(options: QueueOptions)
function queue(name) end

---@class HandlerOptions: QueueOptions
---@field run fun(body: any, ctx: HandlerContext): any what it returns is the result of the message

---@class Webhook
---@field url string http or https; private addresses need http.allow
---@field secret string|string[] "whsec_..", or the name of a value of the configuration; up to 4 that are valid at a time
---@field timeout? string|number of one request; 15 s if not said, at most 60 s
---@field format? "binary"|"structured" how it is a CloudEvent
---@field source? string its source; "koan" if not said

---@class ListenerOptions: HandlerOptions
---@field group? string without: the name of the file
---@field needs? table<string, string|integer|boolean> labels of the node, for each message of the group
---@field batch? integer run gets a list of so many bodies, or fewer
---@field wait? string|number how long a batch is gathered; 100 ms if not said
---@field webhook? Webhook instead of run: each message is a request
---@field start? string|{ position: integer } of retained topics: "new", "first", a moment or a position
---@field run? fun(body: any, ctx: HandlerContext|BatchContext): any

---Works a queue: on "queue/mail" { run = function(mail, ctx) ... end }; or listens to topics: on "order.*" { group = "audit",
---run = function(order, ctx) ... end }, each group having its own message. What run writes and sends is committed with the
---end of the message, as one; if it fails, nothing of it is, and the message comes again.
---@param what string "queue/NAME", or a pattern of topics
---@return fun(def: HandlerOptions|ListenerOptions)
function on(what) end

---With the unit of whatever runs: tx, the request of a route, the message that is worked; else at once.
---@param name string
---@param body any
---@param options? SendOptions
---@return string id, { id: string, duplicate: boolean, merged: boolean, depth: integer, oldest_age_seconds: number }? sent at once only; depth: how many wait in the queue, with it; oldest_age_seconds: of the oldest that could run
function send(name, body, options) end

---@class PublishOptions
---@field key? string|integer each group works the messages of a key one at a time, in the order of publishing
---@field mandatory? boolean an error when nobody listens
---@field delay? string|number
---@field run_at? Moment instead of delay
---@field ttl? string|number not begun by then: discarded
---@field priority? integer 0..31
---@field dedup? string a second one within the queue's dedup_window is not sent
---@field headers? table<string, string>

---Publishes: each group that listens to the topic gets a message. In a unit it is committed with the rest.
---@param topic string "order.placed"
---@param body any
---@param options? PublishOptions
---@return string id, integer groups how many get it
function publish(topic, body, options) end

---@class RequestOptions
---@field timeout? string|number 5 s if not said, at most 5 minutes
---@field key? string|integer
---@field ttl? string|number without: as long as the timeout
---@field priority? integer
---@field headers? table<string, string>

---Publishes, at once, and waits for what the first handler that ends well returns. Not inside tx.
---@param topic string
---@param body any
---@param options? RequestOptions
---@return any answer
function request(topic, body, options) end

---@class TopicOptions
---@field retain? string|number kept so long, for groups that start later
---@field unrouted? "keep"|"drop" what becomes of what nobody listens to

---How topics are kept: topic "customer.*" { retain = "7d" }
---@param pattern string
---@return fun(options: TopicOptions)
function topic(pattern) end

---What a handler is given beside the body. Each of its functions ends the run where it stands; but for ack, nothing of
---what the run wrote or sent is committed.
---@class HandlerContext
---@field id string
---@field queue string
---@field key? string
---@field attempt integer from 1
---@field deliveries integer how often it was given out, whatever came of it
---@field headers table<string, string>
---@field deadline integer when this run is over its timeout, ms
---@field tenant string
---@field correlation string
---@field type? string the media type of the body, where it was sent with one; what is no JSON is a text
---@field topic? string of what was published
---@field message_id? string that the publisher got; the same for all groups
local HandlerContext = {}
---Done, here and now, without a result. A handler that returns has said so, and what it returned is the result.
function HandlerContext:ack() end
---Discarded now, with this reason.
---@param reason? string
function HandlerContext:reject(reason) end
---Again, at once; uses no try.
function HandlerContext:release() end
---Again at that time; uses no try.
---@param to string|integer "10m" or a moment
function HandlerContext:snooze(to) end
---The gate is closed for all for so long, and this message waits with them; uses no try.
---@param gate string
---@param to string|integer "1m" or a moment
function HandlerContext:backoff(gate, to) end
---A failed try; again after `delay`, or after the backoff of the message.
---@param delay? string|number
function HandlerContext:nack(delay) end

---One message of a batch: settled singly, in the unit of the run, which goes on.
---@class BatchItem
---@field id string
---@field type? string
---@field topic? string
---@field message_id? string
---@field key? string
---@field attempt integer from 1
---@field deliveries integer
---@field headers table<string, string>
local BatchItem = {}
---Done, which is what it is if nothing is said.
function BatchItem:ack() end
---@param reason? string
function BatchItem:reject(reason) end
---@param delay? string|number
function BatchItem:nack(delay) end
---@param to string|integer
function BatchItem:snooze(to) end
function BatchItem:release() end

---What a handler of batches is given beside the list of bodies. Its own functions are for all that were not settled singly.
---@class BatchContext: HandlerContext
---@field items BatchItem[] one for each body

-- --- jobs ---

---@class SubmitOptions: SendOptions
---@field chain? string|string[] the jobs that follow this run, instead of those that its job declares
---@field on_failure? "abort"|"continue" with chain
---@field unique? string|{ key: string, mode?: "skip"|"replace" } one waiting run of this key

---@class JobOptions
---@field run? fun(args: table, ctx: JobContext): any without it workers outside lease its runs
---@field args? table<string, any> the fields that a run takes, as those of an entity: { day = date { required = true } }
---@field scheduled_args? table the args of runs that a schedule or on_start makes
---@field cron? string "0 2 * * *", with seconds in front if it has six fields, or "@daily"
---@field every? string|number a fixed grid: "5m"
---@field after? string|number from the end of the last run
---@field on_start? "cluster"|"node" a run for each cold start of the cluster, or for each node that starts
---@field tz? string of cron, windows and blackout: "Europe/Lisbon"; UTC without
---@field overlap? "skip"|"buffer_one"|"buffer_all"|"cancel"|"terminate"|"allow" when one is under way; skip without
---@field catchup? string|number what was due longer ago is not run any more; 1 h without
---@field missed? "one"|"all" runs for what was missed within catchup
---@field jitter? string|number at most half the interval
---@field windows? string[] local times and days at which it may run: { "Mon-Fri 08:00-18:00" }
---@field blackout? string[] local times and days at which it may not
---@field outside? "skip"|"defer" what becomes of a time outside of them
---@field pause_on_failure? integer failures in a row
---@field critical? boolean health is degraded while its last run has failed
---@field chain? string|string[] the jobs that follow, one after the other
---@field on_failure? "abort"|"continue" whether the chain goes on after a failure
---@field concurrency? integer runs at once, in the whole cluster
---@field keep? string|{ completed?: string, discarded?: string, count?: integer } of ended runs: 7 d, 30 d and 100 000 of them without
---@field attempts? integer and, as at send, backoff, timeout (15 min without), ttl, deadline, priority, lane, gate, needs
---@field backoff? string|number|(string|number)[]
---@field timeout? string|number
---@field ttl? string|number
---@field deadline? string|number
---@field priority? integer
---@field lane? string
---@field gate? string|string[]
---@field needs? table<string, string|integer|boolean>

---@class Job
---@field name string
---@overload fun(def: JobOptions): Job
local Job = {}
---A run, with the unit of whatever runs: tx, the request of a route, a handler; else at once.
---@param args? table
---@param options? SubmitOptions
---@return string id, { id: string, duplicate: boolean, merged: boolean, depth: integer, oldest_age_seconds: number }? submitted at once only
function Job:submit(args, options) end

---A run of this job that waits never executes; one under way is asked to stop. With the unit of whatever runs, else at once.
---@param id string
---@param options? { reason?: string } kept with the run
function Job:cancel(id, options) end
---Again, with all attempts, from any final state. With the unit of whatever runs, else at once.
---@param id string
---@param options? { reason?: string } kept with the run
function Job:retry(id, options) end

---Declares a job, or names one: job "settle" { cron = "0 2 * * *", run = function(args, ctx) ... end }, job("settle"):submit { day = d }
---@param name string letters, digits, _ and -
---@return Job
function job(name) end

---In the function of a job: what fn writes and gives back is committed at once, as one, and a later execution of the run
---gets the result without running it again.
---@param name string each at most once in a run
---@param fn fun(): any a value that JSON can hold, up to 256 KiB
---@param options? { undo?: fun(result: any) } runs if the run is discarded or cancelled, the last step first
---@return any
function step(name, fn, options) end

---The run goes on behind it that much later; it holds no slot meanwhile and uses no try.
---@param name string
---@param amount string|number "2d", or a moment
function sleep(name, amount) end

---Until a message is published on the topic: its body, and what is known of it; nil when none came in time.
---@param name string
---@param topic string * is a word, # any number of them
---@param options? { key?: string|integer, timeout?: string|number } 30 days without
---@return any body, { id: string, topic: string, key?: string, body: any }? message
function wait_for(name, topic, options) end

---What the function of a job is given beside its args.
---@class JobContext: HandlerContext
---@field job string
---@field scheduled_at? string the time that it was due, where a schedule made the run
---@field window? { from: string, to: string } from the end of what the last run covered, to what this one does
---@field cancelled boolean it has been asked to stop
---@field step_key? string inside a step: the same over all attempts, for systems outside
local JobContext = {}
---How far it is, for whoever looks.
---@param fraction number 0 to 1
---@param text? string
function JobContext:progress(fraction, text) end
---A line of the run's log, which keeps the last 64 KiB.
---@param text any
function JobContext:log(text) end
---A run for each of the list. When the last of them has ended, `on_done` is submitted, with counts { total, completed, discarded,
---cancelled } among its args.
---@param list { job: string, args?: table }[] and options as at submit
---@param options? { on_done?: string, args?: table }
---@return string[] ids
function JobContext:submit_all(list, options) end

-- --- tests ---

---What a test of a file _test.lua is given.
---@class Test
local Test = {}
---Compared at every depth.
---@param got any
---@param want any
---@param words? string
function Test.equal(got, want, words) end
---@param value any
---@param words? string
function Test.ok(value, words) end
---fn raises; `what` is the error's code or a part of its words. Returns the error.
---@param fn fun()
---@param what? string
---@return any
function Test.fails(fn, what) end
---What was decided about a time at which a job was due by its schedule.
---@class Tick
---@field job string
---@field decision "ran"|"caught_up"|"missed"|"skipped"|"deferred"|"buffered"|"cancelled_other"
---@field reason string
---@field due string
---@field ticks integer how many due times it covers
---@field window { from: string, to: string }
---@field run? TestRun of which a run was made; it stays up to date

---The clock of the test, which stands still: jumps there, forward only, as if nobody had been there meanwhile: what came due by
---schedules is decided now, by `catchup` and `missed`. Without an argument: what it is.
---@param moment? Moment
---@return integer|Tick[]
function Test.clock(moment) end
---Time passes: t.advance("2h"), t.advance { days = 1 }. Jobs run when their schedules say; the error of a run that fails is raised
---here, and the clock stands where it failed.
---@param amounts table|string|integer
---@return Tick[]
function Test.advance(amounts) end
---When a job of these scripts is due next by its schedule; nil: not known, or never. With `n` the next n, at most 100.
---@param job string
---@param n? integer
---@return string|string[]|nil
function Test.next(job, n) end

---A request to a route of these scripts; an error that it raises is raised here too.
---@param line string "POST /notes?draft=1"
---@param options? { json?: any, body?: string, headers?: table<string, string>, query?: table<string, any> }
---@return { status: integer, headers: table<string, string>, body: string, json: any }
function Test.request(line, options) end

---@class DeliveryEnd
---@field outcome "ack"|"reject"|"release"|"snooze"|"backoff"|"nack"
---@field reason? string
---@field at? integer a moment
---@field gate? string
---@field delay? integer ms
---@field items? DeliveryEnd[] of a batch: what became of each

---Runs the handler of a queue of these scripts with this body; with `group` that of a topic, which is given a list if it
---takes batches. What it saves is committed as it would be with the message; an error that it raises is raised here too.
---@param name string a queue, or with `group` a topic
---@param body any
---@param options? { key?: string|integer, headers?: table<string, string>, attempt?: integer, deliveries?: integer, group?: string }
---@return DeliveryEnd
function Test.deliver(name, body, options) end

---Runs the handler of every group of these scripts that listens to the topic, but for webhooks.
---@param topic string
---@param body any
---@param options? { key?: string|integer, headers?: table<string, string> }
---@return table<string, DeliveryEnd> by group
function Test.publish(topic, body, options) end

---@class TestRun
---@field outcome "completed"|"discarded"|"waiting"|"backoff"|"sleeping"|"buffered"|"cancelled" the last three: of a schedule
---@field steps { name: string, result: any, undone?: boolean }[]
---@field attempt integer
---@field slept integer ms
---@field at? integer when one goes on that sleeps
---@field waits_for? string
---@field progress? number
---@field text? string
---@field log string[]
---@field reason? string

---Runs a job of these scripts, over its steps and sleeps, to its end: sleeps move the clock of the test. Where it waits for
---a message it stands with outcome "waiting", and goes on in t.publish or t.advance. The error of the last attempt is raised
---here, behind the undo of its steps.
---@param job string
---@param args? table
---@param options? { attempts?: integer, scheduled_at?: string, window?: { from: string, to: string }, key?: string|integer, headers?: table<string, string> } attempts: 1 without
---@return TestRun
function Test.run(job, args, options) end

---In files that end in _test.lua: `koan check` runs it, with an empty ledger and a clock of its own.
---@param name string
---@param fn fun(t: Test)
function test(name, fn) end

-- For the test alone; an editor never runs this.
return { Entity = Entity, Record = Record, HookContext = HookContext, RouteContext = RouteContext, StageContext = StageContext, Model = Model, HandlerContext = HandlerContext, Job = Job, JobContext = JobContext, Test = Test, HttpAnswer = HttpAnswer, stringlib = stringlib }
