-- The ten-line beginning: declare an entity, and that is an API. Start it with `koan dev lua/apps/todo`, then:
--
--   curl -s localhost:8090/api/todo --json '{"title": "buy milk", "due": "2030-01-31"}'
--       201: the record, with id, version 1 and "done": false
--   curl -s localhost:8090/api/todo --json '{"done": true}'
--       400: title is required
--   curl -sg 'localhost:8090/api/todo?filter={"done":false}&sort=due'
--       what is open, the most urgent first
--   curl -s -X PATCH localhost:8090/api/todo/ID -H 'If-Match: "1"' --json '{"done": true}'
--       done; 412 if somebody was faster
--   curl -s -X DELETE localhost:8090/api/todo/ID
--   curl -s localhost:8090/todo.txt
--       what is open as a list to read: a route of one's own
entity "Todo" {
  fields = {
    title = text { required = true, max = 200 },
    done  = bool { default = false },
    due   = date {},
  },
  index = { { "done", "due" } },
}

route "GET /todo.txt" {
  summary = "What is open, the most urgent first, as a list to read",
  run = function()
    local lines = {}
    for todo in entity "Todo".each { filter = { done = false }, sort = "due" } do
      lines[#lines + 1] = "- " .. todo.title .. (todo.due and " (" .. todo.due .. ")" or "")
    end
    return table.concat(lines, "\n") .. "\n"
  end,
}
