#include "support/sim_ledger.h"

#include "ledger/ledger.h"
#include "support/simworld.h"

static void closed_cb(void *arg)
{
    *(bool *)arg = true;
}

static bool is_closed(void *arg)
{
    return *(bool *)arg;
}

bool sim_ledger_close(struct sim *s, struct ledger *l)
{
    bool closed = false;
    ledger_close(l, closed_cb, &closed);
    return sim_run_until(s, is_closed, &closed, SIM_LEDGER_CLOSE_MS);
}
