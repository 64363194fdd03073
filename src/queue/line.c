/* Queue core: lines of records that could run. */
#include "queue/core_priv.h"

static void line_heap_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct rec *r = core_rec(c, (uint32_t)item);
    rec_save(c, r);
    r->next = at;
}
const struct heap_kind line_heap = {rec_is_before, line_heap_stands};

static bool front_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    return rec_is_before(c, line_head(c, (struct line *)(uintptr_t)a),
                         line_head(c, (struct line *)(uintptr_t)b));
}
static void front_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct line *l = (struct line *)(uintptr_t)item;
    SAVE(c, l->front_pos);
    l->front_pos = at;
}
const struct heap_kind front_heap = {front_is_before, front_stands};

struct line *line_get(struct core *c, struct queue *q, struct lane *lane, struct needs *needs)
{
    struct line **at = &q->lines;
    for (; *at != NULL; at = &(*at)->next) {
        if ((*at)->lane == lane && (*at)->needs == needs)
            return *at;
    }
    struct line *l = undo_alloc(&c->undo, sizeof *l);
    l->queue = q;
    l->lane = lane;
    l->needs = needs;
    l->share = share_get(c, lane, q->tenant);
    l->front = front_get(c, l->share, needs);
    undo_note(&c->undo, at, sizeof *at);
    *at = l;
    return l;
}

uint32_t line_head(const struct core *c, const struct line *l)
{
    uint32_t best = NONE;
    if (l->priorities != 0)
        best = l->fifos[31 - __builtin_clz(l->priorities)].first;
    if (l->heap.count > 0) {
        uint32_t other = (uint32_t)l->heap.items[0];
        if (best == NONE || rec_is_before(c, other, best))
            best = other;
    }
    return best;
}

/* Taking it out while its head changes: the front is ordered by heads, so out first, in again
 * afterwards. */
static void line_leave_front(struct core *c, struct line *l)
{
    if (!l->in_front)
        return;
    SAVE(c, l->in_front);
    l->in_front = false;
    heap_remove(c, &c->undo, &l->front->lines, &front_heap, l->front_pos);
}

void line_review(struct core *c, struct line *l)
{
    bool should = l->count > 0 && l->queue->o.handled && queue_is_runnable(l->queue);
    if (!should) {
        line_leave_front(c, l);
    } else if (!l->in_front) {
        SAVE(c, l->in_front);
        l->in_front = true;
        heap_push(c, &c->undo, &l->front->lines, &front_heap, (uintptr_t)l);
    }
    queue_review(c, l->queue);
}

static void line_add(struct core *c, struct line *l, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    uint8_t p = core_kind(c, r)->priority;
    struct fifo *f = &l->fifos[p];
    if (f->last == NONE || rec_is_sooner(c, f->last, n)) {
        fifo_push(c, f, n);
        SAVE(c, l->priorities);
        l->priorities |= UINT32_C(1) << p;
        rec_set_where(c, r, WHERE_LINE);
    } else {
        rec_set_where(c, r, WHERE_LINE_HEAP);
        heap_push(c, &c->undo, &l->heap, &line_heap, n);
    }
    SAVE(c, l->count);
    l->count++;
}

/* Does putting or removing `n` change which record is first? Then the line moves in its front. */
void line_put(struct core *c, uint32_t n)
{
    struct line *l = core_kind(c, core_rec(c, n))->line;
    uint32_t head = line_head(c, l);
    if (head != NONE && rec_is_before(c, n, head))
        line_leave_front(c, l);
    line_add(c, l, n);
    line_review(c, l);
}

static void line_take_out(struct core *c, struct line *l, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    if (r->where == WHERE_LINE_HEAP) {
        heap_remove(c, &c->undo, &l->heap, &line_heap, r->next);
    } else {
        uint8_t p = core_kind(c, r)->priority;
        fifo_remove(c, &l->fifos[p], n);
        if (l->fifos[p].first == NONE) {
            SAVE(c, l->priorities);
            l->priorities &= ~(UINT32_C(1) << p);
        }
    }
    SAVE(c, l->count);
    l->count--;
}

void line_remove(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct line *l = core_kind(c, r)->line;
    if (line_head(c, l) == n)
        line_leave_front(c, l);
    line_take_out(c, l, n);
    rec_set_where(c, r, WHERE_NOWHERE);
    line_review(c, l);
}
