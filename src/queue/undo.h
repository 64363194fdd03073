/* Undo - memory whose changes can be taken back.
 *
 * Before a place in memory is written, undo_note() keeps what is there; undo_back() puts it all
 * back, newest first. What was allocated since is freed then, what was freed since still lives: a
 * block given to undo_free() goes only when the next entry begins and nothing can come back. So
 * any structure can be undone, hash table and heap alike, if every write to it is noted, and none
 * needs a rule of its own. tests/unit/queue compares all memory to prove that none is missed.
 *
 * The notes of one entry are bounded by what an entry may hold; they are kept in one growing block,
 * of which the next entry begins at the front. Running out of memory for notes ends the process, as
 * for every small allocation: the log makes that safe. */
#ifndef KOAN_QUEUE_UNDO_H
#define KOAN_QUEUE_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct undo_note; /* how one note ends, behind the bytes that it keeps */

struct undo {
    char *notes;
    size_t len, cap;
    void **frees; /* blocks to be freed when the entry is over */
    size_t frees_count, frees_cap;
    size_t unit_len, unit_frees; /* where the current unit began */
};

void undo_init(struct undo *u);
void undo_fini(struct undo *u);
/* What was done stays done. */
void undo_begin(struct undo *u);
/* A unit begins. */
void undo_mark(struct undo *u);
/* Back to the last undo_mark(), or (`all`) to undo_begin(). */
void undo_back(struct undo *u, bool all);

void undo_note(struct undo *u, void *p, size_t n);
/* Zeroed; aborts when there is no memory. */
void *undo_alloc(struct undo *u, size_t n);
void undo_free(struct undo *u, void *p); /* takes NULL */
char *undo_strdup(struct undo *u, const char *s);
/* *p is an array of *cap items of `size` bytes: make room for at least `need`. */
void undo_grow(struct undo *u, void **p, uint32_t *cap, size_t size, uint32_t need);

/* Note what is at `lvalue`, which is then written. */
#define SAVE(c, lvalue) undo_note(&(c)->undo, &(lvalue), sizeof(lvalue))

#endif
