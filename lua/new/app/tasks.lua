-- An entity is a declaration, and that is an API: /api/task lists, reads, writes, queries.
entity "Task" {
  fields = {
    title   = text { required = true, max = 200 },
    state   = choice { "open", "done", default = "open" },
    due     = date,
    done_at = time,
    note    = text { max = 2000 },
  },
  index = { { "state", "due" } },
  before_save = function(task, prior, ctx)
    if prior and prior.state == "done" and task.state == "open" then
      ctx:reject("DONE", "a task that is done stays done; make a new one")
    end
    if task.state == "done" and not task.done_at then task.done_at = time.format() end
    if not prior and not task.note then
      local words = config.get("welcome", "hello")
      task.note = flag("loud-welcome", { key = task.id }) and words:upper() or words
    end
  end,
}
