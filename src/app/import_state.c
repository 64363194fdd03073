/* Where an import stopped, and going on from there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/import_priv.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

static uint64_t import_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static char *import_target(const struct import_options *o)
{
    return mem_printf("%s %s %s %s", o->url, o->canon != NULL ? "canon" : "entity",
                      o->canon != NULL ? o->canon : o->entity, o->origin != NULL ? o->origin : "");
}

int import_state_open(struct import *im, struct err *e)
{
    AUTO(mem_freep) char *target = import_target(&im->o);
    char *full = realpath(im->o.path, NULL);
    if (full == NULL)
        return file_error(e, errno, "open", im->o.path);
    uint64_t name = hash64(hash64(1, full, strlen(full)), target, strlen(target));
    mem_free(full);
    const char *cache = getenv("KOAN_CACHE"), *home = getenv("HOME");
    AUTO(mem_freep)
    char *dir = cache != NULL ? mem_printf("%s/import", cache)
                              : mem_printf("%s/.cache/koan/import", home != NULL ? home : ".");
    if (file_mkdirs(dir, e) != 0)
        return e->code;
    im->state_path = mem_printf("%s/%016llx.json", dir, (unsigned long long)name);
    return 0;
}

int import_save(struct import *im, bool force, struct err *e)
{
    uint64_t now = import_now_ms();
    if (im->state_path == NULL || im->acked == im->saved ||
        (!force && now - im->saved_ms < IMPORT_STATE_MS))
        return 0;
    AUTO(mem_freep) char *target = import_target(&im->o);
    AUTO(json_unref)
    json_t *all = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:O, s:O, s:s}", "file", im->o.path,
                            "target", target, "size", (json_int_t)im->size, "mtime",
                            (json_int_t)im->mtime_ns, "answered", (json_int_t)im->answered,
                            "rejected", (json_int_t)im->rejected, "outcomes", im->outcomes,
                            "reasons", im->reasons, "reader", buf_str(&im->acked_state));
    AUTO(buf_fini) struct buf b = BUF_INIT(IMPORT_STATE_MAX);
    if (json_print(all, &b, e) != 0 || file_write(im->state_path, b.data, b.len, 0600, e) != 0)
        return e->code;
    im->saved_ms = now;
    im->saved = im->acked;
    return 0;
}

static void import_take_counts(json_t **mine, json_t *theirs)
{
    if (!json_is_object(theirs))
        return;
    json_decref(*mine);
    *mine = json_incref(theirs);
}

int import_state_resume(struct import *im, struct err *e)
{
    AUTO(mem_freep) char *text = NULL;
    size_t n = 0;
    int rc = file_read(im->state_path, IMPORT_STATE_MAX, &text, &n, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND,
                       "%s: no earlier import of it to this target has stopped; leave out --resume",
                       im->o.path);
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *all = json_read(text, n, e);
    if (all == NULL)
        return err_context(e, "%s", im->state_path);
    if (json_integer_value(json_object_get(all, "size")) != (json_int_t)im->size ||
        json_integer_value(json_object_get(all, "mtime")) != (json_int_t)im->mtime_ns)
        return err_set(e, ERR_CONFLICT,
                       "%s was changed since the import that stopped; leave out --resume to begin "
                       "anew",
                       im->o.path);
    const char *reader = json_string_value(json_object_get(all, "reader"));
    if (reader == NULL || records_resume(reader, strlen(reader), &im->records, e) != 0)
        return err_set(e, ERR_INVALID, "%s: cannot be understood; leave out --resume",
                       im->state_path);
    im->answered = (uint64_t)json_integer_value(json_object_get(all, "answered"));
    im->rejected = (uint64_t)json_integer_value(json_object_get(all, "rejected"));
    import_take_counts(&im->outcomes, json_object_get(all, "outcomes"));
    import_take_counts(&im->reasons, json_object_get(all, "reasons"));
    im->acked = im->saved = im->skipped_to = records_offset(im->records);
    if (lseek(im->fd, (off_t)im->skipped_to, SEEK_SET) < 0)
        return file_error(e, errno, "seek", im->o.path);
    return 0;
}

void import_finish(struct import *im)
{
    if (im->state_path != NULL)
        unlink(im->state_path);
}
