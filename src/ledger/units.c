/* The unit that an operation in an entry is of. */
#include "base/err.h"
#include "base/mem.h"
#include "ledger/entry_priv.h"
#include "ledger/ledger.h"
#include "ledger/txn_priv.h"

struct ledger_units {
    const uint8_t *entry;
    size_t n;
    struct cursor units; /* behind the last that was read */
    const uint8_t *from; /* the last that was read; NULL: none was */
    size_t len;
    struct txn_view view;
    struct txn_texts texts;
};

struct ledger_units *ledger_units_new(void)
{
    return mem_new(sizeof(struct ledger_units));
}

void ledger_units_free(struct ledger_units *u)
{
    mem_free(u);
}

int ledger_units_begin(struct ledger_units *u, const void *entry, size_t n, struct err *e)
{
    struct entry_head head;
    u->entry = entry;
    u->n = n;
    u->from = NULL;
    u->texts.known = false;
    return entry_open(entry, n, &head, &u->units, e);
}

static int units_step(struct ledger_units *u, struct err *e)
{
    u->from = entry_next(&u->units, &u->len);
    if (u->from == NULL)
        return err_set(e, ERR_CORRUPT, "no unit of the log entry has this operation");
    int rc = txn_decode_in(u->from, u->len, &u->texts, &u->view, e);
    if (rc < 0)
        u->from = NULL;
    return rc;
}

int ledger_units_at(struct ledger_units *u, size_t offset, const struct envelope **out,
                    struct err *e)
{
    int rc = offset < u->n ? 0 : err_set(e, ERR_CORRUPT, "the log entry ends before that");
    const uint8_t *at = u->entry + (rc == 0 ? offset : 0);
    if (rc == 0 && u->from != NULL && at < u->from)
        rc = ledger_units_begin(u, u->entry, u->n, e);
    while (rc == 0 && (u->from == NULL || at >= u->from + u->len))
        rc = units_step(u, e);
    if (rc == 0)
        *out = &u->view.env;
    return rc;
}
