#include "support/simdisk.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "support/simworld.h"

enum { SIMDISK_PATHS_MAX = 4096 };

/* Not mem_try_resize(): what the torture tests take from the program the machine still has. */
static void *simdisk_grow(void *p, size_t n)
{
    return p != NULL ? realloc(p, n) : mem_new(n);
}

struct image {
    uint8_t *p;
    size_t size, cap;
};

struct change {
    uint64_t at;
    size_t n;
    uint8_t *p; /* NULL: the file was cut (or grown) to `at` */
    bool lost;  /* came after the freeze */
};

struct node {
    struct node *next;
    bool is_dir;
    unsigned handles;
    struct image seen, stable;
    struct change *pending;
    size_t pending_n, pending_cap;
};

struct name {
    char *path;
    struct node *node;
};

struct names {
    struct name *at;
    size_t n, cap;
};

/* from NULL: path was bound to node; node NULL: path is gone; else a rename. */
struct name_change {
    char *from, *path;
    struct node *node;
    bool lost;
};

struct simdisk {
    struct disk base;
    struct sim *sim;
    struct node *nodes;
    struct names seen, stable;
    struct name_change *pending;
    size_t pending_n, pending_cap;
    uint64_t changes, freeze_at, capacity;
    uint64_t fail_at[SIMDISK_OPS];
    bool frozen, failed;
};

struct disk_file {
    struct simdisk *disk;
    struct node *node;
    bool writable;
    char path[];
};

/* ---- Images ---- */

static void image_resize(struct image *i, size_t size)
{
    if (size > i->cap) {
        i->cap = size * 2;
        i->p = simdisk_grow(i->p, i->cap);
        ASSERT(i->p != NULL);
    }
    if (size > i->size)
        memset(i->p + i->size, 0, size - i->size);
    i->size = size;
}

static void image_write(struct image *i, uint64_t at, const void *p, size_t n)
{
    if (at + n > i->size)
        image_resize(i, at + n);
    if (n > 0)
        memcpy(i->p + at, p, n);
}

static void image_copy(struct image *to, const struct image *from)
{
    image_resize(to, from->size);
    if (from->size > 0)
        memcpy(to->p, from->p, from->size);
}

static void image_apply(struct image *i, const struct change *c)
{
    if (c->p == NULL)
        image_resize(i, c->at);
    else
        image_write(i, c->at, c->p, c->n);
}

/* ---- Names ---- */

static struct name *names_find(const struct names *names, const char *path)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->at[i].path, path) == 0)
            return &names->at[i];
    return NULL;
}

static void names_remove(struct names *names, const char *path)
{
    struct name *e = names_find(names, path);
    if (e == NULL)
        return;
    mem_free(e->path);
    size_t i = (size_t)(e - names->at);
    memmove(e, e + 1, (--names->n - i) * sizeof(*e));
}

static void names_bind(struct names *names, const char *path, struct node *node)
{
    struct name *e = names_find(names, path);
    if (e != NULL) {
        e->node = node;
        return;
    }
    if (names->n == names->cap) {
        names->cap = names->cap * 2 + 16;
        ASSERT(names->cap < SIMDISK_PATHS_MAX);
        names->at = simdisk_grow(names->at, names->cap * sizeof(*names->at));
        ASSERT(names->at != NULL);
    }
    names->at[names->n++] = (struct name){.path = mem_strdup(path), .node = node};
}

static void names_apply(struct names *names, const struct name_change *c)
{
    if (c->from != NULL)
        names_remove(names, c->from);
    if (c->node == NULL)
        names_remove(names, c->path);
    else
        names_bind(names, c->path, c->node);
}

static void names_clear(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        mem_free(names->at[i].path);
    names->n = 0;
}

static void names_copy(struct names *to, const struct names *from)
{
    names_clear(to);
    for (size_t i = 0; i < from->n; i++)
        names_bind(to, from->at[i].path, from->at[i].node);
}

static size_t path_dir_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path);
}

static bool path_is_in(const char *path, const char *dir)
{
    size_t n = path_dir_len(path);
    return n == strlen(dir) && strncmp(path, dir, n) == 0;
}

/* The folder that the test began with has no entry of its own. */
static bool names_has_dir_of(const struct names *names, const char *path)
{
    size_t n = path_dir_len(path);
    AUTO(mem_freep) char *dir = mem_strndup(path, n);
    if (strchr(dir, '/') == NULL)
        return true;
    struct name *e = names_find(names, dir);
    return e != NULL && e->node->is_dir;
}

static void simdisk_name_change(struct simdisk *d, const char *from, const char *path,
                                struct node *node)
{
    if (d->pending_n == d->pending_cap) {
        d->pending_cap = d->pending_cap * 2 + 16;
        d->pending = simdisk_grow(d->pending, d->pending_cap * sizeof(*d->pending));
        ASSERT(d->pending != NULL);
    }
    struct name_change *c = &d->pending[d->pending_n++];
    *c = (struct name_change){.path = mem_strdup(path), .node = node, .lost = d->frozen};
    if (from != NULL)
        c->from = mem_strdup(from);
    names_apply(&d->seen, c);
}

static void name_change_fini(struct name_change *c)
{
    mem_free(c->from);
    mem_free(c->path);
}

/* ---- Nodes ---- */

static void node_drop_pending(struct node *node)
{
    for (size_t i = 0; i < node->pending_n; i++)
        mem_free(node->pending[i].p);
    node->pending_n = 0;
}

static void node_free(struct node *node)
{
    node_drop_pending(node);
    mem_free(node->pending);
    mem_free(node->seen.p);
    mem_free(node->stable.p);
    mem_free(node);
}

static struct node *simdisk_node(struct simdisk *d, bool is_dir)
{
    struct node *node = mem_new(sizeof(*node));
    node->is_dir = is_dir;
    node->next = d->nodes;
    d->nodes = node;
    return node;
}

static void node_change(struct node *node, struct change c)
{
    if (node->pending_n == node->pending_cap) {
        node->pending_cap = node->pending_cap * 2 + 16;
        node->pending = simdisk_grow(node->pending, node->pending_cap * sizeof(c));
        ASSERT(node->pending != NULL);
    }
    node->pending[node->pending_n++] = c;
    image_apply(&node->seen, &c);
}

static bool simdisk_knows(const struct simdisk *d, const struct node *node)
{
    if (node->handles > 0)
        return true;
    for (size_t i = 0; i < d->seen.n; i++)
        if (d->seen.at[i].node == node)
            return true;
    for (size_t i = 0; i < d->stable.n; i++)
        if (d->stable.at[i].node == node)
            return true;
    for (size_t i = 0; i < d->pending_n; i++)
        if (d->pending[i].node == node)
            return true;
    return false;
}

static void simdisk_sweep(struct simdisk *d)
{
    for (struct node **at = &d->nodes; *at != NULL;) {
        struct node *node = *at;
        if (simdisk_knows(d, node)) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        node_free(node);
    }
}

/* ---- Faults ---- */

/* Counts a change; whether it may still become durable. The one at which the disk freezes is
 * decided by chance: it was under way. */
static bool simdisk_begin_change(struct simdisk *d)
{
    d->changes++;
    if (!d->frozen && d->freeze_at != 0 && d->changes >= d->freeze_at) {
        bool under_way = sim_chance(d->sim, 50);
        sim_freeze(d->sim, "the planned change");
        return under_way;
    }
    return !d->frozen;
}

static bool simdisk_fails(struct simdisk *d, enum simdisk_op op)
{
    if (d->fail_at[op] == 0 || --d->fail_at[op] > 0)
        return false;
    d->failed = true;
    return true;
}

static struct simdisk *simdisk_of(struct disk *base)
{
    return (struct simdisk *)base;
}

/* ---- The calls ---- */

static int simdisk_open(struct disk *base, const char *path, int flags, struct disk_file **out,
                        struct err *e)
{
    struct simdisk *d = simdisk_of(base);
    struct name *found = names_find(&d->seen, path);
    struct node *node = found == NULL ? NULL : found->node;
    if (node != NULL && node->is_dir)
        return err_set(e, ERR_IO, "%s: is a folder", path);
    if (node != NULL && (flags & DISK_EXCLUSIVE))
        return err_set(e, ERR_CONFLICT, "%s: exists", path);
    if (node == NULL) {
        if (!(flags & DISK_CREATE) || !names_has_dir_of(&d->seen, path))
            return err_set(e, ERR_NOT_FOUND, "%s: no such file", path);
        simdisk_begin_change(d);
        sim_event(d->sim, "create", path, 0, 0);
        node = simdisk_node(d, false);
        simdisk_name_change(d, NULL, path, node);
    }
    struct disk_file *f = mem_new(sizeof(*f) + strlen(path) + 1);
    *f = (struct disk_file){.disk = d, .node = node, .writable = (flags & DISK_WRITE) != 0};
    memcpy(f->path, path, strlen(path) + 1);
    node->handles++;
    *out = f;
    return 0;
}

static void simdisk_close(struct disk_file *f)
{
    f->node->handles--;
    mem_free(f);
}

static int64_t simdisk_read(struct disk_file *f, void *p, size_t n, uint64_t at, struct err *e)
{
    if (simdisk_fails(f->disk, SIMDISK_READ)) {
        sim_event(f->disk->sim, "read fails", f->path, at, n);
        return err_set(e, ERR_IO, "%s: read at %llu fails", f->path, (unsigned long long)at);
    }
    const struct image *i = &f->node->seen;
    if (at >= i->size)
        return 0;
    size_t got = i->size - at < n ? i->size - at : n;
    memcpy(p, i->p + at, got);
    return (int64_t)got;
}

static int simdisk_write(struct disk_file *f, const void *p, size_t n, uint64_t at, struct err *e)
{
    struct simdisk *d = f->disk;
    ASSERT(f->writable);
    bool durable = simdisk_begin_change(d);
    sim_event(d->sim, "write", f->path, at, n);
    sim_spend(d->sim, 5000 + n / 8);
    uint64_t end = at + n, size = f->node->seen.size;
    if (end > size && simdisk_used(d) + (end - size) > d->capacity)
        return err_set(e, ERR_DISK_FULL, "%s: no space left", f->path);
    bool fails = simdisk_fails(d, SIMDISK_WRITE);
    if (fails)
        n = (size_t)sim_rand(d->sim, n + 1);
    struct change c = {.at = at, .n = n, .p = mem_new(n + 1), .lost = !durable};
    ASSERT(c.p != NULL);
    if (n > 0)
        memcpy(c.p, p, n);
    node_change(f->node, c);
    return fails ? err_set(e, ERR_IO, "%s: write fails", f->path) : 0;
}

static int simdisk_truncate(struct disk_file *f, uint64_t size, struct err *e)
{
    (void)e;
    bool durable = simdisk_begin_change(f->disk);
    sim_event(f->disk->sim, "truncate", f->path, size, 0);
    node_change(f->node, (struct change){.at = size, .lost = !durable});
    return 0;
}

static void node_sync(struct node *node)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->pending_n; i++) {
        struct change *c = &node->pending[i];
        if (c->lost) {
            node->pending[kept++] = *c;
            continue;
        }
        image_apply(&node->stable, c);
        mem_free(c->p);
    }
    node->pending_n = kept;
}

/* A kernel that could not write drops the pages and calls them clean: some are lost for good
 * although the program still sees them. */
static void simdisk_sync_fails(struct simdisk *d, struct node *node)
{
    for (size_t i = 0; i < node->pending_n; i++)
        if (sim_chance(d->sim, 50))
            node->pending[i].lost = true;
}

static int simdisk_sync(struct disk_file *f, struct err *e)
{
    struct simdisk *d = f->disk;
    bool durable = simdisk_begin_change(d);
    sim_event(d->sim, "sync", f->path, 0, 0);
    sim_spend(d->sim, 50000 + sim_rand(d->sim, 200000));
    if (simdisk_fails(d, SIMDISK_SYNC)) {
        simdisk_sync_fails(d, f->node);
        return err_set(e, ERR_IO, "%s: sync fails", f->path);
    }
    if (durable)
        node_sync(f->node);
    return 0;
}

/* Nothing is promised by it: what is not synced may be lost, torn or kept as before. */
static void simdisk_sync_soon(struct disk_file *f, uint64_t at, size_t n)
{
    (void)f, (void)at, (void)n;
}

static int64_t simdisk_file_size(struct disk_file *f, struct err *e)
{
    (void)e;
    return (int64_t)f->node->seen.size;
}

static int simdisk_rename(struct disk *base, const char *from, const char *to, struct err *e)
{
    struct simdisk *d = simdisk_of(base);
    struct name *found = names_find(&d->seen, from);
    if (found == NULL)
        return err_set(e, ERR_NOT_FOUND, "%s: no such file", from);
    bool durable = simdisk_begin_change(d);
    sim_event(d->sim, "rename to", to, 0, 0);
    simdisk_name_change(d, from, to, found->node);
    d->pending[d->pending_n - 1].lost = !durable;
    return 0;
}

static int simdisk_unlink(struct disk *base, const char *path, struct err *e)
{
    struct simdisk *d = simdisk_of(base);
    if (names_find(&d->seen, path) == NULL)
        return err_set(e, ERR_NOT_FOUND, "%s: no such file", path);
    bool durable = simdisk_begin_change(d);
    sim_event(d->sim, "unlink", path, 0, 0);
    simdisk_name_change(d, NULL, path, NULL);
    d->pending[d->pending_n - 1].lost = !durable;
    return 0;
}

static int simdisk_mkdir(struct disk *base, const char *path, struct err *e)
{
    struct simdisk *d = simdisk_of(base);
    if (!names_has_dir_of(&d->seen, path))
        return err_set(e, ERR_NOT_FOUND, "%s: no folder to make it in", path);
    if (names_find(&d->seen, path) != NULL || strchr(path, '/') == NULL)
        return 0;
    simdisk_begin_change(d);
    sim_event(d->sim, "mkdir", path, 0, 0);
    simdisk_name_change(d, NULL, path, simdisk_node(d, true));
    return 0;
}

static int simdisk_sync_dir(struct disk *base, const char *path, struct err *e)
{
    (void)e;
    struct simdisk *d = simdisk_of(base);
    bool durable = simdisk_begin_change(d);
    sim_event(d->sim, "sync folder", path, 0, 0);
    if (simdisk_fails(d, SIMDISK_SYNC))
        return err_set(e, ERR_IO, "%s: sync fails", path);
    if (!durable)
        return 0;
    size_t kept = 0;
    for (size_t i = 0; i < d->pending_n; i++) {
        struct name_change *c = &d->pending[i];
        if (c->lost || !path_is_in(c->path, path)) {
            d->pending[kept++] = *c;
            continue;
        }
        names_apply(&d->stable, c);
        name_change_fini(c);
    }
    d->pending_n = kept;
    simdisk_sweep(d);
    return 0;
}

static int simdisk_list(struct disk *base, const char *path,
                        int (*each)(void *arg, const char *name), void *arg, struct err *e)
{
    (void)e;
    struct simdisk *d = simdisk_of(base);
    struct names copy = {0}; /* each() may change names */
    names_copy(&copy, &d->seen);
    int rc = 0;
    for (size_t i = 0; i < copy.n && rc == 0; i++)
        if (path_is_in(copy.at[i].path, path))
            rc = each(arg, copy.at[i].path + path_dir_len(copy.at[i].path) + 1);
    names_clear(&copy);
    mem_free(copy.at);
    return rc;
}

static int simdisk_space(struct disk *base, const char *path, uint64_t *free, uint64_t *total,
                         struct err *e)
{
    (void)path, (void)e;
    struct simdisk *d = simdisk_of(base);
    uint64_t used = simdisk_used(d);
    *free = used < d->capacity ? d->capacity - used : 0;
    *total = d->capacity;
    return 0;
}

struct simdisk *simdisk_new(struct sim *sim)
{
    struct simdisk *d = mem_new(sizeof(*d));
    d->sim = sim;
    d->capacity = 1ull << 40;
    d->base = (struct disk){
        .open = simdisk_open,
        .close = simdisk_close,
        .read = simdisk_read,
        .write = simdisk_write,
        .sync = simdisk_sync,
        .sync_soon = simdisk_sync_soon,
        .truncate = simdisk_truncate,
        .size = simdisk_file_size,
        .rename = simdisk_rename,
        .unlink = simdisk_unlink,
        .mkdir = simdisk_mkdir,
        .sync_dir = simdisk_sync_dir,
        .list = simdisk_list,
        .space = simdisk_space,
    };
    return d;
}

static void simdisk_drop_name_changes(struct simdisk *d)
{
    for (size_t i = 0; i < d->pending_n; i++)
        name_change_fini(&d->pending[i]);
    d->pending_n = 0;
}

void simdisk_free(struct simdisk *d)
{
    simdisk_drop_name_changes(d);
    mem_free(d->pending);
    names_clear(&d->seen);
    names_clear(&d->stable);
    mem_free(d->seen.at);
    mem_free(d->stable.at);
    while (d->nodes != NULL) {
        struct node *node = d->nodes;
        d->nodes = node->next;
        ASSERT(node->handles == 0);
        node_free(node);
    }
    mem_free(d);
}

struct disk *simdisk_disk(struct simdisk *d)
{
    return &d->base;
}

uint64_t simdisk_changes(const struct simdisk *d)
{
    return d->changes;
}

void simdisk_freeze_after(struct simdisk *d, uint64_t changes)
{
    d->freeze_at = changes == 0 ? 0 : d->changes + changes;
}

void simdisk_freeze(struct simdisk *d)
{
    d->frozen = true;
}

bool simdisk_is_frozen(const struct simdisk *d)
{
    return d->frozen;
}

void simdisk_fail(struct simdisk *d, enum simdisk_op op, uint64_t nth)
{
    d->fail_at[op] = nth;
    d->failed = false;
}

bool simdisk_failed(const struct simdisk *d)
{
    return d->failed;
}

void simdisk_capacity(struct simdisk *d, uint64_t bytes)
{
    d->capacity = bytes;
}

uint64_t simdisk_used(const struct simdisk *d)
{
    uint64_t used = 0;
    for (size_t i = 0; i < d->seen.n; i++)
        used += d->seen.at[i].node->seen.size;
    return used;
}

/* ---- Crashes ---- */

static void simdisk_thaw(struct simdisk *d)
{
    for (struct node *node = d->nodes; node != NULL; node = node->next)
        ASSERT(node->handles == 0);
    d->frozen = false;
    d->freeze_at = 0;
    memset(d->fail_at, 0, sizeof(d->fail_at));
    simdisk_sweep(d);
}

static void node_kill(struct node *node)
{
    image_copy(&node->seen, &node->stable);
    size_t kept = 0;
    for (size_t i = 0; i < node->pending_n; i++) {
        struct change *c = &node->pending[i];
        if (c->lost) {
            mem_free(c->p);
            continue;
        }
        image_apply(&node->seen, c);
        node->pending[kept++] = *c;
    }
    node->pending_n = kept;
}

void simdisk_kill(struct simdisk *d)
{
    names_copy(&d->seen, &d->stable);
    size_t kept = 0;
    for (size_t i = 0; i < d->pending_n; i++) {
        struct name_change *c = &d->pending[i];
        if (c->lost) {
            name_change_fini(c);
            continue;
        }
        names_apply(&d->seen, c);
        d->pending[kept++] = *c;
    }
    d->pending_n = kept;
    for (struct node *node = d->nodes; node != NULL; node = node->next)
        node_kill(node);
    simdisk_thaw(d);
}

/* How a power cut treats what was unsynced: a mood per cut, or one per file, so that the extremes
 * come up. */
enum mood { MOOD_NONE, MOOD_ALL, MOOD_WHOLE, MOOD_TORN, MOODS };

struct tear {
    struct simdisk *d;
    enum mood mood;
    uint8_t *stuck; /* sectors of which a change was lost: later ones are lost too */
    size_t sectors;
};

static bool tear_keeps(struct tear *t)
{
    return t->mood == MOOD_ALL || (t->mood != MOOD_NONE && sim_chance(t->d->sim, 50));
}

static void tear_sector(struct tear *t, struct node *node, const struct change *c, uint64_t sector,
                        bool keep)
{
    if (t->stuck[sector] || !keep) {
        t->stuck[sector] = 1;
        return;
    }
    uint64_t from = sector * SIMDISK_SECTOR, to = from + SIMDISK_SECTOR;
    from = from < c->at ? c->at : from;
    to = to > c->at + c->n ? c->at + c->n : to;
    image_write(&node->stable, from, c->p + (from - c->at), (size_t)(to - from));
}

static void tear_change(struct tear *t, struct node *node, const struct change *c)
{
    bool keep = tear_keeps(t);
    if (c->p == NULL) {
        if (keep)
            image_resize(&node->stable, c->at);
        return;
    }
    if (c->n == 0)
        return;
    for (uint64_t s = c->at / SIMDISK_SECTOR; s <= (c->at + c->n - 1) / SIMDISK_SECTOR; s++)
        tear_sector(t, node, c, s, t->mood == MOOD_TORN ? tear_keeps(t) : keep);
    /* The file system may know of the new size before it has the data. */
    if (t->mood == MOOD_TORN && c->at + c->n > node->stable.size && sim_chance(t->d->sim, 50))
        image_resize(&node->stable, c->at + c->n);
}

static void node_power_cut(struct simdisk *d, struct node *node, enum mood mood)
{
    uint64_t end = 0;
    for (size_t i = 0; i < node->pending_n; i++)
        if (node->pending[i].at + node->pending[i].n > end)
            end = node->pending[i].at + node->pending[i].n;
    struct tear t = {.d = d, .mood = mood, .sectors = end / SIMDISK_SECTOR + 1};
    t.stuck = mem_new_array(t.sectors, 1);
    for (size_t i = 0; i < node->pending_n; i++)
        if (!node->pending[i].lost)
            tear_change(&t, node, &node->pending[i]);
    mem_free(t.stuck);
    node_drop_pending(node);
    image_copy(&node->seen, &node->stable);
}

/* A name in a folder that did not survive cannot be reached. */
static void simdisk_drop_orphans(struct simdisk *d)
{
    for (size_t i = 0; i < d->stable.n;)
        if (names_has_dir_of(&d->stable, d->stable.at[i].path)) {
            i++;
        } else {
            AUTO(mem_freep) char *path = mem_strdup(d->stable.at[i].path);
            names_remove(&d->stable, path);
            i = 0; /* what stood in it may have been passed already */
        }
}

void simdisk_power_cut(struct simdisk *d)
{
    enum mood mood = (enum mood)sim_rand(d->sim, MOODS);
    struct tear names = {.d = d, .mood = mood};
    /* Journals keep names in order, but nothing promises it: both are tried. */
    bool in_order = sim_chance(d->sim, 50), stopped = false;
    for (size_t i = 0; i < d->pending_n; i++) {
        stopped = stopped || (in_order && !tear_keeps(&names));
        bool keep = in_order ? !stopped : tear_keeps(&names);
        if (keep && !d->pending[i].lost)
            names_apply(&d->stable, &d->pending[i]);
    }
    simdisk_drop_name_changes(d);
    simdisk_drop_orphans(d);
    names_copy(&d->seen, &d->stable);
    bool each = sim_chance(d->sim, 50);
    for (struct node *node = d->nodes; node != NULL; node = node->next)
        node_power_cut(d, node, each ? (enum mood)sim_rand(d->sim, MOODS) : mood);
    simdisk_thaw(d);
}

/* ---- Looking in from outside ---- */

void simdisk_adopt(struct simdisk *d, const struct simdisk *from)
{
    ASSERT(d->nodes == NULL);
    for (size_t i = 0; i < from->seen.n; i++) {
        const struct name *e = &from->seen.at[i];
        struct node *node = simdisk_node(d, e->node->is_dir);
        image_copy(&node->seen, &e->node->seen);
        image_copy(&node->stable, &e->node->seen);
        names_bind(&d->seen, e->path, node);
        names_bind(&d->stable, e->path, node);
    }
}

int64_t simdisk_size(const struct simdisk *d, const char *path)
{
    struct name *e = names_find(&d->seen, path);
    return e == NULL ? -1 : (int64_t)e->node->seen.size;
}

void simdisk_flip(struct simdisk *d, const char *path, uint64_t byte, unsigned bit)
{
    struct name *e = names_find(&d->seen, path);
    ASSERT(e != NULL && byte < e->node->seen.size);
    sim_event(d->sim, "flip", path, byte, bit);
    e->node->seen.p[byte] ^= (uint8_t)(1u << bit);
    if (byte < e->node->stable.size)
        e->node->stable.p[byte] ^= (uint8_t)(1u << bit);
}

uint8_t simdisk_peek(const struct simdisk *d, const char *path, uint64_t byte)
{
    struct name *e = names_find(&d->seen, path);
    ASSERT(e != NULL && byte < e->node->seen.size);
    return e->node->seen.p[byte];
}

const char *simdisk_path(const struct simdisk *d, const char *part, size_t nth)
{
    for (size_t i = 0; i < d->seen.n; i++)
        if (strstr(d->seen.at[i].path, part) != NULL && !d->seen.at[i].node->is_dir && nth-- == 0)
            return d->seen.at[i].path;
    return NULL;
}
