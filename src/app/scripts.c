#include "app/scripts.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

enum { SCRIPTS_DEPTH_MAX = 16 };

/* Calls each(arg, path, name, st) for every script. `name` is the path inside the folder. */
typedef int scripts_each(void *arg, const char *path, const char *name, const struct stat *st,
                         struct err *e);

static int scripts_walk(const char *path, const char *inside, int depth, scripts_each *each,
                        void *arg, struct err *e);

static int scripts_entry(const char *path, const char *inside, int depth, scripts_each *each,
                         void *arg, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return file_error(e, errno, "read", path);
    if (S_ISDIR(st.st_mode))
        return scripts_walk(path, inside, depth + 1, each, arg, e);
    if (!S_ISREG(st.st_mode) || !str_ends(path, ".lua"))
        return 0;
    return each(arg, path, inside, &st, e);
}

static int scripts_walk(const char *path, const char *inside, int depth, scripts_each *each,
                        void *arg, struct err *e)
{
    if (depth > SCRIPTS_DEPTH_MAX)
        return err_set(e, ERR_INVALID, "%s: more than %d folders deep", path, SCRIPTS_DEPTH_MAX);
    DIR *d = opendir(path);
    if (d == NULL)
        return file_error(e, errno, "open", path);
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        AUTO(mem_freep) char *full = mem_printf("%s/%s", path, entry->d_name);
        AUTO(mem_freep)
        char *name = mem_printf("%s%s%s", inside, *inside != '\0' ? "/" : "", entry->d_name);
        rc = scripts_entry(full, name, depth, each, arg, e);
    }
    closedir(d);
    return rc;
}

static int scripts_add(void *arg, const char *path, const char *name, const struct stat *st,
                       struct err *e)
{
    (void)st;
    struct scripts *s = arg;
    char *text = NULL;
    size_t n = 0;
    if (s->count == VM_SOURCES_MAX)
        return err_set(e, ERR_TOO_LARGE, "%s: more than %d scripts", path, VM_SOURCES_MAX);
    if (file_read(path, VM_SOURCE_MAX, &text, &n, e) != 0)
        return e != NULL ? e->code : ERR_IO;
    s->files[s->count++] = (struct vm_source){mem_strdup(name), text, n};
    return 0;
}

int scripts_read(const char *path, struct scripts *out, struct err *e)
{
    *out = (struct scripts){0};
    if (*path == '\0')
        return 0;
    AUTO(scripts_fini) struct scripts s = {0};
    s.files = mem_new_array(VM_SOURCES_MAX, sizeof *s.files);
    struct stat st;
    if (stat(path, &st) != 0) {
        file_error(e, errno, "open", path);
        return err_context(e, "scripts");
    }
    const char *slash = strrchr(path, '/');
    int rc = S_ISDIR(st.st_mode) ? scripts_walk(path, "", 0, scripts_add, &s, e)
                                 : scripts_add(&s, path, slash != NULL ? slash + 1 : path, &st, e);
    if (rc != 0)
        return err_context(e, "scripts");
    *out = s;
    s = (struct scripts){0};
    return 0;
}

void scripts_fini(struct scripts *s)
{
    for (size_t i = 0; i < s->count; i++) {
        mem_free((char *)s->files[i].name);
        mem_free((char *)s->files[i].text);
    }
    mem_free(s->files);
    *s = (struct scripts){0};
}

bool scripts_have_code(const struct scripts *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!str_ends(s->files[i].name, "_test.lua"))
            return true;
    return false;
}

/* A sum, so that the order of the folder does not matter. */
static int scripts_sign(void *arg, const char *path, const char *name, const struct stat *st,
                        struct err *e)
{
    (void)path;
    (void)e;
    int64_t facts[] = {st->st_mtim.tv_sec, st->st_mtim.tv_nsec, st->st_size, (int64_t)st->st_ino};
    *(uint64_t *)arg += hash64(hash64(1, name, strlen(name)), facts, sizeof facts);
    return 0;
}

uint64_t scripts_signature(const char *path)
{
    uint64_t sum = 0;
    struct err e = ERR_INIT;
    if (*path != '\0')
        scripts_entry(path, "", 0, scripts_sign, &sum, &e);
    return sum + (uint64_t)(unsigned)e.code;
}
