local Todo = entity "Todo"

test("the list has what is open, the most urgent first", function(t)
  Todo.save_all { Todo.new { title = "b", due = "2030-01-02" }, Todo.new { title = "a", due = "2030-01-01" }, Todo.new { title = "c", done = true } }
  local answer = t.request("GET /todo.txt")
  t.equal(answer.status, 200)
  t.equal(answer.body, "- a (2030-01-01)\n- b (2030-01-02)\n")
end)
