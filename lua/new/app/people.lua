-- Canon: what several sources say about one person becomes one record, whose every field knows who said it and why it
-- won. Sources POST to /api/canon/person with the header X-Canon-Origin; the golden records are /api/person.
local function squeezed(text) return (text:gsub("%s+", " "):match("^%s*(.-)%s*$")) end

entity "Person" {
  fields = { name = text { max = 200 }, email = email, phone = text },
}

canon "Person" {
  sources = { crm = { rank = 1 }, shop = { rank = 2 } },
  keys    = { "email:email", "phone:digits" },          -- either one makes two arrivals the same person
  policy  = { name = source_of_truth { "crm", "shop" }, phone = "latest" },
  stages  = {
    intake = function(a)
      if a.name then a.name = squeezed(a.name) end
    end,
  },
}
