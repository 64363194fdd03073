/* koan config export: what other programs want to know about this one, as files for them. */
#include <string.h>

#include "app/cli.h"
#include "base/embed.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/file.h"

static const struct export_file {
    const char *inside, *name;
} export_grafana[] = {
    {"packaging/grafana/koan.json", "koan-dashboard.json"},
    {"packaging/prometheus/alerts.yml", "koan-alerts.yml"},
};

/* What of the cluster's roles could be made into files, once there are roles. */
static const char *const export_later[] = {"compose", "kubernetes", "helm", "bicep"};

/* What is there already is somebody's work, unless it is the very same. */
static int export_check(const char *path, const struct embed_file *f, struct err *e)
{
    AUTO(mem_freep) char *text = NULL;
    size_t n = 0;
    int rc = file_read(path, f->size + 1, &text, &n, NULL);
    if (rc == ERR_NOT_FOUND || (rc == 0 && n == f->size && memcmp(text, f->data, n) == 0))
        return 0;
    return err_set(e, ERR_CONFLICT, "%s is there already and differs; --force replaces it", path);
}

static int export_write(const char *folder, bool force, json_t *written, struct err *e)
{
    for (int pass = 0; pass < 2; pass++) /* nothing is written where something stands in the way */
        for (size_t i = 0; i < ARRAY_LEN(export_grafana); i++) {
            const struct embed_file *f = embed_find(export_grafana[i].inside);
            AUTO(mem_freep) char *path = mem_printf("%s/%s", folder, export_grafana[i].name);
            ASSERT(f != NULL);
            if (pass == 0 && !force && export_check(path, f, e) != 0)
                return e->code;
            if (pass == 0)
                continue;
            if (file_mkdirs(folder, e) != 0 || file_write(path, f->data, f->size, 0644, e) != 0)
                return e->code;
            json_array_append_new(written, json_string(path));
        }
    return 0;
}

static int cmd_export(struct cli *c)
{
    const char *kind = c->places[0], *folder = cli_flag(c, "to");
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(export_later); i++)
        if (strcmp(kind, export_later[i]) == 0) {
            err_set(&e, ERR_UNSUPPORTED,
                    "%s: needs the roles of a cluster, which this version of Koan does not have; "
                    "there is grafana",
                    kind);
            return cli_fail(c, &e);
        }
    if (strcmp(kind, "grafana") != 0)
        return cli_usage(c, "there is no export '%s', only grafana", kind);
    AUTO(json_unref) json_t *written = json_array();
    if (export_write(folder != NULL ? folder : ".", cli_flag(c, "force") != NULL, written, &e) != 0)
        return cli_fail(c, &e);
    if (c->json) {
        AUTO(json_unref) json_t *all = json_pack("{s:O}", "files", written);
        cli_print_json(c, all);
        return CLI_OK;
    }
    size_t i;
    json_t *path;
    json_array_foreach(written, i, path)
    {
        printf("%s\n", json_string_value(path));
    }
    return CLI_OK;
}

static const struct cli_flag cmd_export_flags[] = {
    {"to", "DIR", "folder for the files, made when missing; the working directory without"},
    {"force", NULL, "replace files that differ"},
};

const struct cli_command cli_export_commands[] = {
    {.name = "config export",
     .args = "grafana",
     .summary = "a dashboard for Grafana and alert rules for Prometheus, as files",
     .min = 1,
     .max = 1,
     .flags = cmd_export_flags,
     .flags_count = ARRAY_LEN(cmd_export_flags),
     .run = cmd_export},
    {0},
};
