/* The saved state of the queue: any bytes are loaded whole or refused; what was loaded holds the
 * invariants, works, and is saved and loaded again alike. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "queue/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STATE_MAX = 64 << 20 };

static int get(void *arg, void *p, size_t n, struct err *e)
{
    const void *from = cursor_raw(arg, n);
    if (from == NULL)
        return err_set(e, ERR_CORRUPT, "no more");
    memcpy(p, from, n);
    return 0;
}

static int put(void *arg, const void *p, size_t n, struct err *e)
{
    buf_add(arg, p, n);
    return buf_check(arg, "state", e);
}

static struct core *load(const void *p, size_t n)
{
    struct cursor c;
    cursor_init(&c, p, n);
    struct core *core = core_new();
    if (core_load(core, get, &c, NULL) == 0)
        return core;
    core_free(core);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct core *a = load(data, size);
    if (a == NULL)
        return 0;
    struct buf saved = BUF_INIT(STATE_MAX);
    ASSERT(core_save(a, put, &saved, NULL) == 0);
    struct core *b = load(saved.data, saved.len);
    ASSERT(b != NULL && core_hash(a) == core_hash(b));
    core_free(b);
    core_free(a);
    buf_fini(&saved);
    return 0;
}
