local Order, Payment, Mail, Closing = entity "Order", entity "Payment", entity "Mail", entity "Closing"

local function place(id, total)
  return Order.new { id = id, customer = "Ann", email = "ann@example.com", total = total }:save()
end

test("an order is placed, and cannot place itself as paid", function(t)
  local a = t.request("POST /orders", { json = { id = "o-1", customer = "Ann", email = "ann@example.com", total = 5, state = "paid" } })
  t.equal(a.status, 201)
  t.equal(Order.get("o-1").state, "placed")
end)

test("an order that is placed again stays as it is", function(t)
  place("o-1", 5):patch { state = "paid" }
  local a = t.request("POST /orders", { json = { id = "o-1", customer = "Eve", email = "eve@example.com", total = 7 } })
  t.equal({ a.status, Order.get("o-1").state, Order.get("o-1").customer }, { 200, "paid", "Ann" })
end)

test("a payment is booked once, however often it comes", function(t)
  place("o-1", 1250)
  t.equal(t.deliver("payments", { event = "e-1", order = "o-1", amount = 1250 }).outcome, "ack")
  t.equal(t.deliver("payments", { event = "e-1", order = "o-1", amount = 1250 }, { attempt = 2 }).outcome, "ack")
  t.equal(Payment.count { filter = {} }, 1)
  t.equal(Order.get("o-1").state, "paid")
end)

test("a payment that does not fit is for people to decide", function(t)
  place("o-1", 1250)
  local wrong = t.deliver("payments", { event = "e-1", order = "o-1", amount = 1 })
  t.equal(wrong.outcome, "reject")
  t.equal(wrong.reason, "amount 1, wanted 1250")
  t.equal(Order.get("o-1").state, "placed")
end)

test("a payment that is faster than its order is tried again", function(t)
  t.fails(function() t.deliver("payments", { event = "e-1", order = "o-1", amount = 5 }) end, "is not there yet")
end)

test("mail without a provider stays in the house", function(t)
  t.equal(t.deliver("mail", { to = "ann@example.com", subject = "hello" }).outcome, "ack")
  t.equal(Mail.count { filter = { to = "ann@example.com" } }, 1)
end)

test("the total of a paid order stays", function(t)
  local o = place("o-1", 5)
  o:patch { state = "paid" }
  t.fails(function() o:patch { total = 6 } end, "PAID")
end)

test("the settlement closes what was paid, and nothing twice", function(t)
  for i = 1, 3 do place("o-" .. i, 100 * i):patch { state = i < 3 and "paid" or "placed" } end
  local run = t.run("settle-orders", { day = "2026-05-01" })
  t.equal(run.outcome, "completed")
  t.equal(run.steps[1].result.total, 300)
  local c = Closing.query { filter = { day = "2026-05-01" } }[1]
  t.equal({ c.orders, c.total, c.transfer }, { 2, 300, "none" })
  t.run("settle-orders", { day = "2026-05-02" })
  t.equal(Closing.query { filter = { day = "2026-05-02" } }[1].orders, 0)
end)

test("every night what was paid is settled, and nothing twice", function(t)
  t.clock("2026-05-01T12:00:00Z")
  t.equal(t.next("settle-orders"), "2026-05-02T01:00:00.000Z") -- two o'clock in Lisbon
  for i = 1, 2 do place("o-" .. i, 100 * i):patch { state = "paid" } end
  local nights = t.advance("2d")
  t.equal({ nights[1].run.outcome, nights[1].run.steps[1].result.total, nights[1].run.progress }, { "completed", 300, 1 })
  t.equal({ nights[2].due, nights[2].run.steps[1].result.total }, { "2026-05-03T01:00:00.000Z", 0 })
  t.run("report-orders")
  t.equal(t.request("GET /reports/2026-05-03").body, "2026-05-03: 0 orders, 0 cents, transfer none\n")
end)

test("a night without anybody there is made up for in the morning, an older one is not", function(t)
  local ticks = t.clock("2026-02-01T08:00:00Z")
  t.equal({ ticks[1].decision, ticks[2].decision, #ticks }, { "missed", "caught_up", 2 })
  t.equal(ticks[2].due, "2026-02-01T02:00:00.000Z")
end)

test("what is placed leaves a trail", function(t)
  t.equal(t.publish("order.placed", { id = "o-1", total = 5 }).trail.outcome, "ack")
  t.equal(entity "Trail".count { filter = { order = "o-1" } }, 1)
end)
