-- `koan check` runs these: each test with an empty ledger, and a clock that moves only when the test says so.
local Task, Person = entity "Task", canon "Person"

test("a task that is done says when, and stays done", function(t)
  local task = Task.new { title = "buy milk" }:save()
  t.equal(task.state, "open")
  t.advance("2h")
  task:patch { state = "done" }
  t.equal(task.done_at, "2026-01-01T02:00:00.000Z")
  t.fails(function() task:patch { state = "open" } end, "DONE")
end)

test("two sources make one person, and the better one names it", function(t)
  local first = Person:arrive({ name = "J. Doe", email = "jane@example.org" }, { origin = "shop", source_id = "7" })
  local second = Person:arrive({ name = " Jane   Doe ", email = "Jane@Example.org" }, { origin = "crm", source_id = "c1" })
  t.equal(second.id, first.id)
  t.equal(Person:get(first.id).name, "Jane Doe")
end)
