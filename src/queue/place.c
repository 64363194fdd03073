/* Queue core: where in the log the bytes of records lie. */
#include "queue/core_priv.h"

static void extra_places(const struct extra *x, void (*each)(void *arg, uint64_t place), void *arg)
{
    if (x->body != 0)
        each(arg, x->body);
    if (x->result != 0)
        each(arg, x->result);
    for (uint32_t i = 0; x->errors != NULL && i < x->errors->count && i < CORE_ERRORS_KEPT; i++) {
        if (x->errors->ring[i].place != 0)
            each(arg, x->errors->ring[i].place);
    }
}

uint32_t core_places(const struct core *c, uint32_t n, void (*each)(void *arg, uint64_t place),
                     void *arg)
{
    if (n >= c->recs_count)
        return NONE;
    const struct rec *r = core_rec(c, n);
    if (r->state != 0) {
        each(arg, r->place);
        if (r->extra != NONE)
            extra_places(core_extra(c, r), each, arg);
    }
    return n + 1 < c->recs_count ? n + 1 : NONE;
}

struct lowest {
    uint64_t from, lowest;
};

static void lowest_each(void *arg, uint64_t place)
{
    struct lowest *l = arg;
    if (place >= l->from && place < l->lowest)
        l->lowest = place;
}

uint64_t core_lowest_place(const struct core *c, uint64_t from)
{
    struct lowest l = {.from = from, .lowest = UINT64_MAX};
    for (uint32_t n = 1; n != NONE;)
        n = core_places(c, n, lowest_each, &l);
    return l.lowest;
}

/* ---- what was moved out of the log, and is given up ---- */

void core_spilled(struct core *c, uint64_t place)
{
    c->spilled = place;
}

void place_forget(struct core *c, uint64_t place)
{
    if (place == 0 || place >= c->spilled)
        return;
    undo_grow(&c->undo, (void **)&c->forgotten, &c->forgotten_cap, sizeof *c->forgotten,
              c->forgotten_count + 1);
    SAVE(c, c->forgotten_count);
    SAVE(c, c->forgotten[c->forgotten_count]);
    c->forgotten[c->forgotten_count++] = place;
}

static void forget_each(void *arg, uint64_t place)
{
    place_forget(arg, place);
}

void places_forget(struct core *c, uint32_t n)
{
    if (c->spilled > 0)
        core_places(c, n, forget_each, c);
}

const uint64_t *core_forgotten(const struct core *c, size_t *count)
{
    *count = c->forgotten_count;
    return c->forgotten;
}

void core_forgotten_clear(struct core *c)
{
    SAVE(c, c->forgotten_count);
    c->forgotten_count = 0;
}
