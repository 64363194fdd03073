"""Schedules in tests: what koan check lets come due while t.advance and t.clock move the clock."""
import json
import unittest

from e2e.node import Case, run

NOTES = """
local Note = entity "Note" { fields = { n = int, text = text {} } }
local function note(text) Note.new { text = text }:save() end
local function job_of(name, def)
  def.run = def.run or function(args, ctx) note(name .. " " .. ctx.scheduled_at) end
  job(name)(def)
end
"""

TESTS = """
local Note = entity "Note"
local function texts()
  local out = {}
  for _, n in ipairs(Note.query { sort = "id", page_size = 200 }) do out[#out + 1] = n.text end
  return out
end
local function decisions(list)
  local out = {}
  for i, d in ipairs(list) do out[i] = d.decision .. " " .. d.due:sub(6, 16) .. (d.run and " " .. d.run.outcome or "") end
  return out
end
"""


class Schedules(Case):
    def check(self, scripts, tests, code=0):
        self.write("app/main.lua", NOTES + scripts)
        self.write("app/main_test.lua", TESTS + tests)
        got, out, err = run("check", self.path("app"), "--json", cwd=self.dir)
        self.assertEqual(got, code, out + err)
        return json.loads(out)

    def test_each_due_time_is_decided_when_it_is_due_in_the_zone_of_its_job(self):
        self.check("""
            job_of("night", { cron = "0 2 * * *", tz = "Europe/Lisbon", scheduled_args = { n = 7 }, run = function(args, ctx)
              note(args.n .. " " .. ctx.scheduled_at .. " " .. ctx.window.from .. " " .. ctx.window.to .. " " .. time.format())
              step("told", function() return "well" end)
            end })
            job_of("plain", {})
        """, """
            test("nights", function(t)
              t.equal(t.next("night"), "2026-01-01T02:00:00.000Z")
              t.equal(#t.advance("119m"), 0)
              local list = t.advance("24h1m")
              t.equal(#list, 2)
              local d = list[2]
              t.equal({ d.job, d.decision, d.reason, d.due, d.ticks }, { "night", "ran", "on time", "2026-01-02T02:00:00.000Z", 1 })
              t.equal({ d.run.outcome, d.run.steps[1].result }, { "completed", "well" })
            end)
            test("summer", function(t)
              t.clock("2026-06-30T23:00:00Z")
              t.equal(t.next("night"), "2026-07-01T01:00:00.000Z")
              t.equal(t.next("night", 2), { "2026-07-01T01:00:00.000Z", "2026-07-02T01:00:00.000Z" })
              local list = t.advance("2d")
              t.equal(decisions(list), { "ran 07-01T01:00 completed", "ran 07-02T01:00 completed" })
              t.equal(list[2].window, { from = "2026-07-01T01:00:00.000Z", to = "2026-07-02T01:00:00.000Z" })
              t.equal(texts()[2], "7 2026-07-02T01:00:00.000Z 2026-07-01T01:00:00.000Z 2026-07-02T01:00:00.000Z 2026-07-02T01:00:00.000Z")
              t.equal(time.format(), "2026-07-02T23:00:00.000Z")
              t.fails(function() t.next("plain") end, "has a schedule")
              t.fails(function() t.next("nigth") end, "no job of these scripts is 'nigth'")
              t.fails(function() t.next("night", 101) end, "from 1 to 100")
            end)
        """)

    def test_a_run_that_sleeps_is_under_way_for_what_is_due_meanwhile(self):
        told = self.check("""
            for _, overlap in ipairs { "skip", "buffer_one", "buffer_all", "cancel", "terminate", "allow" } do
              job_of(overlap, { every = "1h", overlap = overlap, run = function(args, ctx)
                step("begin", function() end, { undo = function() note(overlap .. " undone " .. ctx.scheduled_at:sub(12, 16)) end })
                sleep("nap", "150m")
                note(overlap .. " " .. ctx.scheduled_at:sub(12, 16) .. " " .. time.format(time.now(), "%H:%M"))
              end })
            end
        """, """
            local function of(t, name)
              local out = {}
              for _, d in ipairs(t.advance("6h20m")) do
                if d.job == name then out[#out + 1] = d.decision .. " " .. d.due:sub(12, 13) .. (d.run and " " .. d.run.outcome or "") end
              end
              local said = {}
              for _, text in ipairs(texts()) do
                local mine = text:match("^" .. name .. " (.*)$")
                if mine then said[#said + 1] = mine end
              end
              return out, said
            end
            local wanted = {
              skip = { { "ran 01 completed", "skipped 02", "skipped 03", "ran 04 sleeping", "skipped 05", "skipped 06" }, { "01:00 03:30" } },
              buffer_one = { { "ran 01 completed", "buffered 02 completed", "skipped 03", "buffered 04 sleeping", "skipped 05", "buffered 06 buffered" },
                { "01:00 03:30", "02:00 06:00" } },
              buffer_all = { { "ran 01 completed", "buffered 02 completed", "buffered 03 sleeping", "buffered 04 buffered", "buffered 05 buffered",
                "buffered 06 buffered" }, { "01:00 03:30", "02:00 06:00" } },
              cancel = { { "ran 01 cancelled", "cancelled_other 02 cancelled", "cancelled_other 03 cancelled", "cancelled_other 04 cancelled",
                "cancelled_other 05 cancelled", "cancelled_other 06 sleeping" }, { "undone 01:00", "undone 02:00", "undone 03:00", "undone 04:00", "undone 05:00" } },
              terminate = { { "ran 01 cancelled", "cancelled_other 02 cancelled", "cancelled_other 03 cancelled", "cancelled_other 04 cancelled",
                "cancelled_other 05 cancelled", "cancelled_other 06 sleeping" }, { "undone 01:00", "undone 02:00", "undone 03:00", "undone 04:00", "undone 05:00" } },
              allow = { { "ran 01 completed", "ran 02 completed", "ran 03 completed", "ran 04 sleeping", "ran 05 sleeping", "ran 06 sleeping" },
                { "01:00 03:30", "02:00 04:30", "03:00 05:30" } },
            }
            for name, want in pairs(wanted) do
              test(name, function(t)
                local list, said = of(t, name)
                t.equal(list, want[1])
                t.equal(said, want[2])
              end)
            end
        """)
        self.assertEqual(told["passed"], 6)

    def test_what_the_clock_jumps_over_was_missed(self):
        self.check("""
            job_of("one", { cron = "0 2 * * *", catchup = "12h" })
            job_of("all", { cron = "0 */2 * * *", catchup = "5h", missed = "all" })
            job_of("few", { cron = "30 1 * * *" })
        """, """
            test("a morning", function(t)
              local list = t.clock("2026-01-03T08:30:00Z")
              local by = {}
              for _, d in ipairs(list) do
                by[d.job] = by[d.job] or {}
                table.insert(by[d.job], d.decision .. " " .. d.due:sub(9, 16) .. " " .. d.ticks)
              end
              t.equal(by.one, { "missed 02T02:00 2", "caught_up 03T02:00 1" })
              t.equal(by.all, { "missed 03T02:00 25", "caught_up 03T04:00 1", "caught_up 03T06:00 1", "caught_up 03T08:00 1" })
              t.equal(by.few, { "missed 03T01:30 3" })
              t.equal(#texts(), 4)
              t.equal(#t.clock("2026-01-03T08:31:00Z"), 0)
              t.equal(decisions(t.advance("2h")), { "ran 01-03T10:00 completed" })
            end)
        """)

    def test_windows_are_kept(self):
        self.check("""
            job_of("office", { every = "6h", windows = { "Mon-Fri 08:00-18:00" } })
            job_of("later", { cron = "0 2 * * SAT", windows = { "Mon-Fri 08:00-18:00" }, outside = "defer" })
        """, """
            test("a weekend", function(t)
              t.clock("2026-01-02T11:00:00Z") -- a Friday
              local list = t.advance("71h")
              t.equal(decisions(list)[1], "ran 01-02T12:00 completed")
              local skipped, rest = 0, {}
              for i = 2, #list do
                if list[i].decision == "skipped" then skipped = skipped + 1 else rest[#rest + 1] = list[i].job .. " " .. decisions { list[i] }[1] end
              end
              t.equal(rest, { "later deferred 01-03T02:00", "later ran 01-05T08:00 completed" })
              t.equal(skipped, 11)
            end)
        """)

    def test_after_counts_from_the_end_of_the_last_run(self):
        self.check("""
            job_of("poll", { after = "10m", run = function(args, ctx)
              sleep("look", "5m")
              note("looked")
            end })
        """, """
            test("polls", function(t)
              t.equal(t.next("poll"), "2026-01-01T00:10:00.000Z")
              local list = t.advance("12m")
              t.equal(decisions(list), { "ran 01-01T00:10 sleeping" })
              t.equal({ list[1].run.at, list[1].run.slept }, { t.clock() + 180000, 300000 })
              t.equal(t.next("poll"), nil)
              t.equal(decisions(t.advance("20m")), { "ran 01-01T00:25 completed" })
              t.equal(list[1].run.outcome, "completed")
              t.equal(t.next("poll"), "2026-01-01T00:40:00.000Z")
            end)
        """)

    def test_a_run_that_fails_is_raised_where_the_time_has_come_to(self):
        self.check("""
            job_of("flaky", { every = "1h", pause_on_failure = 2, run = function(args, ctx)
              step("a", function() end, { undo = function() note("undone") end })
              error("no luck")
            end })
        """, """
            test("fails", function(t)
              t.fails(function() t.advance("1d") end, "no luck")
              t.equal(time.format(), "2026-01-01T01:00:00.000Z")
              t.fails(function() t.advance("1d") end, "no luck")
              t.equal(time.format(), "2026-01-01T02:00:00.000Z")
              t.equal(#t.advance("1d"), 0) -- two in a row: it is paused
              t.equal(texts(), { "undone", "undone" })
              t.equal(t.next("flaky"), "2026-01-02T03:00:00.000Z")
            end)
        """)

    def test_a_run_of_a_schedule_waits_for_its_message_and_the_next_one_for_it(self):
        self.check("""
            job_of("ask", { every = "1h", overlap = "buffer_one", run = function(args, ctx)
              local m = wait_for("answer", "answer.given", { timeout = "90m" })
              note(m and m.text or "none at " .. time.format(time.now(), "%H:%M"))
            end })
        """, """
            test("waits", function(t)
              local list = t.advance("2h10m")
              t.equal(decisions(list), { "ran 01-01T01:00 waiting", "buffered 01-01T02:00 buffered" })
              t.publish("answer.given", { text = "yes" })
              t.equal(decisions(list), { "ran 01-01T01:00 completed", "buffered 01-01T02:00 waiting" })
              t.advance("90m")
              t.equal(texts(), { "yes", "none at 03:40" })
              t.equal(list[2].run.outcome, "completed")
            end)
        """)

    def test_a_run_by_hand_leaves_schedules_alone(self):
        self.check("""
            job_of("tick", { every = "1h" })
            job_of("long", { run = function() sleep("nap", "3h") end })
        """, """
            test("by hand", function(t)
              t.equal(t.run("long").outcome, "completed")
              t.equal(#texts(), 0)
              t.equal(decisions(t.advance("1h")), { "missed 01-01T01:00", "caught_up 01-01T03:00 completed", "ran 01-01T04:00 completed" })
            end)
        """)

    def test_an_advance_has_a_bound(self):
        self.check("""job_of("often", { every = "1s", run = function() end })""", """
            test("bound", function(t)
              local e = t.fails(function() t.advance("1d") end, "more than 10000 things")
              t.ok(tostring(e):find("job 'often'", 1, true))
              t.fails(function() t.advance("-1h") end, "")
            end)
        """)


if __name__ == "__main__":
    unittest.main()
