-- A shop's orders: an API, payments that come as webhooks, mail, and a nightly settlement. Each part that may fail, be slow or
-- come twice is work of a queue, and everything it changes is one unit with its end. Start it with
-- `koan dev lua/apps/orders`, then:
--
--   curl -s localhost:8090/orders --json '{"id": "o-1", "customer": "Ann", "email": "ann@example.com", "total": 1250}'
--       201: the order, "placed"; its confirmation waits in the queue `mail`. The same id again is 200 and changes nothing
--   curl -s localhost:8090/payments --json '{"event": "ev-1", "order": "o-1", "amount": 1250}'
--       202, as often as it is sent: it counts once
--   curl -s localhost:8090/api/order/o-1
--       "paid", once `payments` was worked; a wrong amount is a dead letter in `payments.dead` that a person decides
--   koan queue ls                              what waits, what failed
--   koan jobs run settle-orders --wait         tonight's settlement, now
--   curl -s localhost:8090/reports/2026-11-22
--
-- Configuration (`app`, or KOAN_APP_NAME): mail_url and bank_url are other systems' addresses, without them mail and money stay
-- in the house; payment_secret signs the webhook.

local Order = entity "Order" {
  fields = {
    customer = text { required = true, max = 200 },
    email    = email { required = true },
    total    = int { required = true, min = 1 }, -- cents
    state    = choice { choices = { "placed", "paid", "refunded" }, default = "placed" },
    paid_at  = time {},
    closing  = ref { "Closing" },
  },
  index = { { "state", "paid_at" } },
  before_save = function(o, prior, ctx)
    if prior and prior.state ~= "placed" and o.total ~= prior.total then ctx:reject("PAID", "the total of a paid order stays") end
  end,
}

local Payment = entity "Payment" {
  fields = { order = ref { "Order", required = true, unique = true }, event = text { required = true, unique = true }, amount = int {} },
}

local Mail = entity "Mail" { fields = { to = email {}, subject = text {}, provider_id = text {} }, index = { { "to" } } }

local Trail = entity "Trail" { fields = { what = text {}, order = text {} }, index = { { "order" } } }

local Closing = entity "Closing" {
  fields = { day = date { required = true, unique = true }, orders = int {}, total = int {}, transfer = text {} },
}

local Report = entity "Report" { fields = { day = date { required = true, unique = true }, text = text {} } }

-- --- taking orders ---

queue "mail" { attempts = 6, backoff = "2s", dead_to = "mail.dead" }
queue "mail.dead" { manual = true }

local function mail(to, subject, key)
  send("mail", { to = to, subject = subject }, { key = to, dedup = key })
end

route "POST /orders" {
  summary = "Place an order",
  run = function(req)
    local o = Order.new(req.json)
    local known = o.id and Order.get(o.id)
    if known then return { status = 200, json = known } end -- asked again, since no answer came: done once
    o.state, o.paid_at, o.closing = "placed", nil, nil
    o:save()
    publish("order.placed", { id = o.id, total = o.total }, { key = o.id })
    mail(o.email, "Thank you for order " .. o.id, "placed-" .. o.id)
    return { status = 201, json = o }
  end,
}

-- --- payments: a provider calls as often as it likes, in any order ---

queue "payments" { attempts = 8, backoff = "1s", dead_to = "payments.dead" }
queue "payments.dead" { manual = true }

route "POST /payments" {
  summary = "The payment provider's webhook: X-Signature is the HMAC-SHA256 of the body",
  run = function(req)
    local secret = config.get("payment_secret", "")
    if secret ~= "" and not crypto.equal(req.headers["x-signature"] or "", crypto.hmac(secret, req.body, "hex")) then
      return { status = 401, json = { detail = "X-Signature does not fit the body" } }
    end
    local p = req.json
    send("payments", p, { key = p.order, dedup = p.event })
    return { status = 202 }
  end,
}

on "queue/payments" {
  concurrency = 16,
  run = function(p, ctx)
    if Payment.count { filter = { event = p.event } } > 0 then return end -- the window of dedup is over, the payment is not
    local o = Order.get(p.order)
    if not o then error("order " .. tostring(p.order) .. " is not there yet") end -- it may be on its way: tried again
    if o.state ~= "placed" then ctx:reject("order " .. o.id .. " is " .. o.state) end
    if p.amount ~= o.total then ctx:reject("amount " .. tostring(p.amount) .. ", wanted " .. o.total) end
    Payment.new { order = o.id, event = p.event, amount = p.amount }:save()
    o.state, o.paid_at = "paid", time.format(time.now())
    o:save()
    publish("order.paid", { id = o.id, total = o.total }, { key = o.id })
    mail(o.email, "Order " .. o.id .. " is paid", "paid-" .. o.id)
  end,
}

-- --- mail: slow, and sometimes not there ---

on "queue/mail" {
  concurrency = 8, gate = "mail-provider", timeout = "20s",
  run = function(m, ctx)
    local url, sent = config.get("mail_url", ""), nil
    if url ~= "" then
      local res = http.post(url, { json = m, headers = { ["idempotency-key"] = ctx.id }, timeout = "10s" })
      if res.status == 429 then ctx:backoff("mail-provider", "5s") end -- closes the gate for all mail; uses no try
      if res.status == 422 then ctx:reject("refused: " .. m.to) end    -- a dead letter now: no try would help
      if not res.ok then error("the mail provider said " .. res.status) end
      sent = res:json().id
    end
    Mail.new { to = m.to, subject = m.subject, provider_id = sent }:save()
  end,
}

-- --- who else wants to know ---

on "order.*" {
  group = "trail",
  run = function(e, ctx) Trail.new { what = ctx.topic, order = e.id }:save() end,
}

-- --- every night: what was paid goes to the bank, once ---

job "settle-orders" {
  cron = "0 2 * * *", tz = "Europe/Lisbon", catchup = "12h", concurrency = 1, critical = true,
  args = { day = date {} },
  chain = { "report-orders" },
  run = function(args, ctx)
    local day = args.day or time.format(ctx.scheduled_at or time.now(), "%Y-%m-%d")

    local closing = step("close", function()
      local count, total, c = 0, 0, Closing.new { day = day }:save()
      for o in Order.each { filter = { state = "paid", closing = { ["$exists"] = false } } } do
        o.closing = c.id
        o:save()
        count, total = count + 1, total + o.total
        if count == 500 then break end -- what is more waits for tomorrow: a unit has its bounds
      end
      c.orders, c.total = count, total
      c:save()
      return { id = c.id, orders = count, total = total }
    end)
    ctx:progress(0.5, closing.orders .. " orders")

    local transfer = step("transfer", function()
      local url = config.get("bank_url", "")
      if url == "" or closing.total == 0 then return "none" end
      local res = http.post(url, { json = { amount = closing.total }, headers = { ["idempotency-key"] = ctx.step_key } })
      if not res.ok then error("the bank said " .. res.status) end
      return res:json().id
    end, {
      undo = function(id)
        if id ~= "none" then http.post(config.get("bank_url") .. "/" .. id .. "/cancel", {}) end
      end,
    })

    step("book", function()
      local c = Closing.get(closing.id)
      c.transfer = transfer
      c:save()
    end)
    ctx:progress(1, "settled")
    return closing
  end,
}

job "report-orders" {
  args = { day = date {} },
  run = function(args)
    local c = Closing.query { sort = "-day", page_size = 1 }[1]
    if not c then return end
    local text = c.day .. ": " .. c.orders .. " orders, " .. c.total .. " cents, transfer " .. (c.transfer or "none")
    if Report.count { filter = { day = c.day } } == 0 then Report.new { day = c.day, text = text }:save() end
  end,
}

route "GET /reports/{day}" {
  summary = "What was settled on a day",
  run = function(req)
    local r = Report.query { filter = { day = req.params.day }, page_size = 1 }[1]
    if not r then return { status = 404, json = { detail = "nothing was settled on " .. req.params.day } } end
    return r.text .. "\n"
  end,
}
