/* Names of rows that conditions want absent: looked for, or taken for granted. */
#include "canon/gather_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "canon/store_priv.h"
#include "ledger/domain.h"

/* In front of each name in `absent` and `open`. */
struct absent {
    size_t n;
    bool granted; /* nobody has looked, and no row of the name is kept back */
    bool owner;   /* of a key that is there: its name is followed by its owner's */
};

static bool gather_note(struct gather *g, bool granted, bool owner)
{
    struct absent head = {.n = g->name.len, .granted = granted, .owner = owner};
    if (buf_failed(&g->name) || buf_reserve(&g->absent, sizeof head + head.n) == NULL)
        return false;
    buf_add(&g->absent, &head, sizeof head);
    buf_add(&g->absent, g->name.data, head.n);
    return true;
}

/* Whether the name that was asked for last is among those noted, or those noted with an owner. */
static bool gather_is_noted(struct gather *g, bool owner)
{
    struct absent head;
    if (buf_failed(&g->name))
        return false;
    for (size_t at = 0; at + sizeof head <= g->absent.len; at += sizeof head + head.n) {
        memcpy(&head, g->absent.data + at, sizeof head);
        g->absent_at = at;
        if (head.owner == owner && head.n == g->name.len &&
            memcmp(g->absent.data + at + sizeof head, g->name.data, head.n) == 0)
            return true;
    }
    return false;
}

void gather_absent(struct gather *g)
{
    gather_note(g, false, false);
}

bool gather_grant(struct gather *g, const struct apply *a)
{
    return a->doubt != NULL && gather_note(g, true, false);
}

void gather_owned(struct gather *g, const struct apply *a, const char *model, const char *key,
                  const char *owner)
{
    gather_find(g, a, GATHER_KEYS, model, key, owner);
    gather_note(g, false, true);
}

bool gather_is_owned(struct gather *g, const struct apply *a, const char *model, const char *key,
                     const char *owner)
{
    gather_find(g, a, GATHER_KEYS, model, key, owner);
    return gather_is_noted(g, true);
}

void gather_void_owners(struct gather *g)
{
    struct absent head;
    for (size_t at = 0; at + sizeof head <= g->absent.len; at += sizeof head + head.n) {
        memcpy(&head, g->absent.data + at, sizeof head);
        if (head.owner)
            g->absent.data[at + sizeof head] = '\0'; /* no name begins so */
    }
}

bool gather_knows_absent(struct gather *g)
{
    return gather_is_noted(g, false);
}

void gather_settle(struct gather *g)
{
    struct absent head;
    memcpy(&head, g->absent.data + g->absent_at, sizeof head);
    head.granted = false;
    memcpy(g->absent.data + g->absent_at, &head, sizeof head);
}

int gather_doubt(const struct apply *a, struct err *e)
{
    *a->doubt = true;
    return err_set(e, ERR_CANCELED, "canon: a row that was taken for new is there already");
}

/* 1: there is such a row, 0: there is none. The name is as gather_name() makes it. */
static int gather_look(const struct apply *a, const char *name, size_t n, struct err *e)
{
    const char *parts[4] = {NULL}, *at = name + 1;
    for (size_t i = 0; i < 4 && at < name + n; i++, at += strlen(at) + 1)
        parts[i] = at;
    uint64_t rev = 0;
    struct store_golden row;
    char owner[STORE_ID];
    int rc = ERR_NOT_FOUND;
    switch ((enum gather_table)(name[0] - '0')) {
    case GATHER_SOURCES:
        rc = store_source_rev(a->db, parts[0], parts[1], parts[2], parts[3], &rev, e);
        return rc != 0 ? rc : rev != 0;
    case GATHER_KEYS:
        rc = store_key_owner(a->db, parts[0], parts[1], parts[2], owner, e);
        break;
    case GATHER_GOLDENS:
        rc = store_golden_get(a->db, parts[0], parts[1], parts[2], &row, e);
        break;
    case GATHER_ARRIVALS: /* have no names */
    case GATHER_TABLES:
        break;
    }
    if (rc == ERR_NOT_FOUND)
        err_clear(e);
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 1;
}

static int names_prove(const struct buf *names, const struct apply *a, struct err *e)
{
    struct absent head;
    for (size_t at = 0; at + sizeof head <= names->len; at += sizeof head + head.n) {
        memcpy(&head, names->data + at, sizeof head);
        int rc = head.granted ? gather_look(a, names->data + at + sizeof head, head.n, e) : 0;
        if (rc != 0)
            return rc < 0 ? rc : gather_doubt(a, e);
    }
    return 0;
}

void gather_leave_open(struct gather *g)
{
    struct absent head;
    for (size_t at = 0; at + sizeof head <= g->absent.len; at += sizeof head + head.n) {
        memcpy(&head, g->absent.data + at, sizeof head);
        if (head.granted)
            buf_add(&g->open, g->absent.data + at, sizeof head + head.n);
    }
    buf_reset(&g->absent);
}

int gather_prove(struct gather *g, const struct apply *a, struct err *e)
{
    int rc = buf_failed(&g->open) ? gather_doubt(a, e) : names_prove(&g->open, a, e);
    return rc == 0 ? names_prove(&g->absent, a, e) : rc;
}
