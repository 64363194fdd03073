/* Queue: memory whose changes can be taken back. */
#include "queue/undo.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { UNDO_BYTES = 64 << 10, UNDO_KEPT = 4 << 20, UNDO_ARRAY = 16 };

struct undo_note {
    void *p;
    size_t n; /* 0: p was allocated */
};

void undo_init(struct undo *u)
{
    memset(u, 0, sizeof *u);
    u->cap = UNDO_BYTES;
    u->notes = mem_must(u->cap);
}

static void undo_frees(struct undo *u)
{
    for (size_t i = 0; i < u->frees_count; i++)
        mem_free(u->frees[i]);
    u->frees_count = 0;
}

void undo_fini(struct undo *u)
{
    undo_frees(u);
    mem_free(u->frees);
    mem_free(u->notes);
    memset(u, 0, sizeof *u);
}

void undo_begin(struct undo *u)
{
    undo_frees(u);
    u->len = u->unit_len = 0;
    u->unit_frees = 0;
    if (u->cap > UNDO_KEPT) {
        mem_free(u->notes);
        u->cap = UNDO_BYTES;
        u->notes = mem_must(u->cap);
    }
}

void undo_mark(struct undo *u)
{
    u->unit_len = u->len;
    u->unit_frees = u->frees_count;
}

void undo_back(struct undo *u, bool all)
{
    size_t to = all ? 0 : u->unit_len;
    while (u->len > to) {
        struct undo_note note;
        memcpy(&note, u->notes + u->len - sizeof note, sizeof note);
        u->len -= sizeof note + note.n;
        if (note.n > 0)
            memcpy(note.p, u->notes + u->len, note.n);
        else
            mem_free(note.p);
    }
    u->frees_count = all ? 0 : u->unit_frees;
    undo_mark(u);
}

static void *array_grown(void *p, size_t *cap, size_t need, size_t size)
{
    size_t more = *cap == 0 ? UNDO_ARRAY : *cap;
    while (more < need)
        more *= 2;
    void *grown = mem_try_resize(p, more * size);
    if (grown == NULL)
        PANIC("no memory for %zu bytes of notes", more * size);
    *cap = more;
    return grown;
}

void undo_note(struct undo *u, void *p, size_t n)
{
    struct undo_note note = {.p = p, .n = n};
    size_t need = u->len + n + sizeof note;
    if (need > u->cap)
        u->notes = array_grown(u->notes, &u->cap, need, 1);
    if (n > 0)
        memcpy(u->notes + u->len, p, n);
    memcpy(u->notes + u->len + n, &note, sizeof note);
    u->len = need;
}

void *undo_alloc(struct undo *u, size_t n)
{
    void *p = mem_new(n);
    undo_note(u, p, 0);
    return p;
}

void undo_free(struct undo *u, void *p)
{
    if (p == NULL)
        return;
    if (u->frees_count == u->frees_cap)
        u->frees = array_grown(u->frees, &u->frees_cap, u->frees_count + 1, sizeof *u->frees);
    u->frees[u->frees_count++] = p;
}

char *undo_strdup(struct undo *u, const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(undo_alloc(u, n), s, n);
}

void undo_grow(struct undo *u, void **p, uint32_t *cap, size_t size, uint32_t need)
{
    if (need <= *cap)
        return;
    uint32_t more = *cap == 0 ? UNDO_ARRAY : *cap;
    while (more < need)
        more *= 2;
    void *grown = undo_alloc(u, more * size);
    if (*cap > 0)
        memcpy(grown, *p, *cap * size);
    undo_free(u, *p);
    undo_note(u, p, sizeof *p);
    undo_note(u, cap, sizeof *cap);
    *p = grown;
    *cap = more;
}
