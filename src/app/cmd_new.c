/* koan new: a project that runs, from files that lie inside the binary. */
#include <ctype.h>
#include <string.h>

#include "app/cli.h"
#include "base/buf.h"
#include "base/embed.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

#define CMD_NEW_TEMPLATE "lua/new/"
#define CMD_NEW_STUBS "lua/meta/koan.lua"

enum { CMD_NEW_FILE_MAX = 1 << 20 };

static const char cmd_new_ignore[] = "/koan-data/\n";
static const char cmd_new_luarc[] =
    "{\n  \"runtime.version\": \"Lua 5.4\",\n  \"workspace.library\": [\".koan/meta\"],\n"
    "  \"diagnostics.disable\": [\"lowercase-global\"]\n}\n";

static int cmd_new_write(const char *folder, const char *name, const void *p, size_t n,
                         json_t *files, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/%s", folder, name);
    AUTO(mem_freep) char *above = mem_strdup(path);
    *strrchr(above, '/') = '\0';
    if (file_mkdirs(above, e) != 0 || file_write(path, p, n, 0644, e) != 0)
        return e->code;
    json_array_append_new(files, json_string(name));
    return 0;
}

/* The template's file with the project's name in it. */
static int cmd_new_fill(const char *folder, const char *title, const struct embed_file *f,
                        json_t *files, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(CMD_NEW_FILE_MAX);
    const char *text = (const char *)f->data, *name = f->path + strlen(CMD_NEW_TEMPLATE), *hit;
    while (strcmp(name, "README.md") == 0 && (hit = strstr(text, "NAME")) != NULL) {
        buf_add(&b, text, (size_t)(hit - text));
        buf_adds(&b, title);
        text = hit + strlen("NAME");
    }
    buf_adds(&b, text);
    return cmd_new_write(folder, name, b.data, b.len, files, e);
}

static int cmd_new_all(const char *folder, const char *title, json_t *files, struct err *e)
{
    const struct embed_file *stubs = embed_find(CMD_NEW_STUBS);
    for (const struct embed_file *f = NULL; (f = embed_next(CMD_NEW_TEMPLATE, f)) != NULL;)
        if (cmd_new_fill(folder, title, f, files, e) != 0)
            return e->code;
    if (cmd_new_write(folder, ".koan/meta/koan.lua", stubs->data, stubs->size, files, e) != 0 ||
        cmd_new_write(folder, ".luarc.json", cmd_new_luarc, strlen(cmd_new_luarc), files, e) != 0)
        return e->code;
    return cmd_new_write(folder, ".gitignore", cmd_new_ignore, strlen(cmd_new_ignore), files, e);
}

static int cmd_new(struct cli *c)
{
    const char *folder = c->places[0];
    struct err e = ERR_INIT;
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    AUTO(mem_freep) char *path = mem_strndup(folder, n);
    const char *slash = strrchr(path, '/'), *title = slash != NULL ? slash + 1 : path;
    if (str_check_name(title, "project", &e) != 0)
        return cli_usage(c, "%s", e.text);
    if (file_exists(path)) {
        err_set(&e, ERR_CONFLICT, "%s is there already; a project begins in a folder of its own",
                path);
        return cli_fail(c, &e);
    }
    AUTO(json_unref) json_t *files = json_array();
    if (cmd_new_all(path, title, files, &e) != 0)
        return cli_fail(c, &e);
    if (c->json) {
        AUTO(json_unref) json_t *all = json_pack("{s:s, s:O}", "folder", path, "files", files);
        cli_print_json(c, all);
        return CLI_OK;
    }
    size_t i;
    json_t *name;
    json_array_foreach(files, i, name) printf("  %s/%s\n", path, json_string_value(name));
    printf("\ncd %s && koan dev\n", path);
    return CLI_OK;
}

const struct cli_command cli_new_commands[] = {
    {.name = "new",
     .args = "NAME",
     .summary = "begin a project: scripts, settings, a test",
     .min = 1,
     .max = 1,
     .run = cmd_new},
    {0},
};
