#include "app/settings.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "app/config_app.h"
#include "app/config_file.h"
#include "app/config_priv.h"
#include "app/labels.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

enum { CONFIG_TOKEN_MIN = 16 };

void config_fault(struct config_load *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vaddf(l->faults, fmt, args);
    va_end(args);
    buf_addc(l->faults, '\n');
    l->faulty = true;
}

void config_unknown(struct config_load *l, const char *origin, const char *name)
{
    struct err e = ERR_INIT;
    config_no_setting(name, &e);
    config_fault(l, "%s: %s", origin, e.text);
}

/* ---- layers ---- */

static void config_value_fini(struct setting_value *v)
{
    mem_free(v->text);
    mem_free(v->origin);
    *v = (struct setting_value){.text = NULL};
}

static void config_value_copy(struct setting_value *to, const struct setting_value *from)
{
    config_value_fini(to);
    if (from->text != NULL)
        *to =
            (struct setting_value){mem_strdup(from->text), from->number, mem_strdup(from->origin)};
}

void config_set(struct config_load *l, enum setting_id id, const char *text, char *origin)
{
    struct err e = ERR_INIT;
    int64_t number = 0;
    struct setting_value *v = &l->config->tiers[l->layer].values[id];
    if (config_parse(&settings_table[id], text, &number, &e) != 0) {
        config_fault(l, "%s: %s: %s", origin, settings_table[id].name, e.text);
        mem_free(origin);
        return;
    }
    config_value_fini(v);
    *v = (struct setting_value){mem_strdup(text), number, origin};
}

const char *config_so_far(const struct config_load *l, enum setting_id id)
{
    for (int layer = (int)l->layer; layer >= 0; layer--)
        if (l->config->tiers[layer].values[id].text != NULL)
            return l->config->tiers[layer].values[id].text;
    PANIC("%s has no default", settings_table[id].name);
}

static struct config *config_new(void)
{
    struct config *c = mem_new(sizeof *c);
    c->app = json_object();
    c->flags = json_object();
    c->lanes = json_object();
    c->origins = json_object();
    for (int i = 0; i < LAYER_COUNT; i++)
        c->tiers[i].rows = json_object();
    return c;
}

/* The free sections of a layer over those before it. */
static void config_resolve_rows(struct config *c, const json_t *rows)
{
    const char *key;
    json_t *row;
    json_object_foreach((json_t *)rows, key, row)
    {
        const char *name;
        json_t *section = config_app_section(c, key, &name);
        json_object_set(section, name, json_object_get(row, "value"));
        json_object_set(c->origins, key, json_object_get(row, "origin"));
    }
}

/* What is in force: the last layer that says it. */
static void config_resolve(struct config *c)
{
    for (int i = 0; i < SET_COUNT; i++)
        for (int layer = LAYER_COUNT - 1; layer >= 0; layer--)
            if (c->tiers[layer].values[i].text != NULL) {
                config_value_copy(&c->values[i], &c->tiers[layer].values[i]);
                break;
            }
    for (int layer = 0; layer < LAYER_COUNT; layer++)
        config_resolve_rows(c, c->tiers[layer].rows);
}

static void config_read_file(struct config_load *l, const struct config_sources *s)
{
    const char *path =
        s->file != NULL ? s->file : config_environment(s->environment, "KOAN_CONFIG");
    if (path == NULL) {
        bool lua = file_exists("koan.lua"), json = file_exists("koan.json");
        if (lua && json)
            config_fault(l, "koan.lua and koan.json are both here; keep one, or say --config FILE");
        if (!lua && !json)
            return;
        path = lua ? "koan.lua" : "koan.json";
    }
    struct err e = ERR_INIT;
    json_t *tree = NULL;
    if (config_file_read(path, &tree, &e) != 0) {
        config_fault(l, "%s", e.text);
        return;
    }
    l->config->file = mem_strdup(path);
    l->layer = LAYER_FILE;
    config_tree(l, path, tree);
    json_decref(tree);
}

/* ---- what settings demand of each other ---- */

/* It goes into a header of a request. */
static void config_visible(struct config_load *l, enum setting_id id)
{
    const struct setting_value *v = &l->config->values[id];
    for (const char *c = v->text; *c != '\0'; c++)
        if (*c <= ' ' || *c >= 127) {
            config_fault(l, "%s: %s: must be visible ASCII without blanks", v->origin,
                         settings_table[id].name);
            return;
        }
}

static void config_access(struct config_load *l)
{
    const struct setting_value *v = l->config->values;
    char host[256];
    uint16_t port = 0;
    if (strcmp(v[SET_HTTP_ACCESS].text, "open") != 0 || v[SET_ALLOW_MAGIC].number != 0 ||
        strcmp(v[SET_ENV].text, "production") != 0 ||
        !setting_address(v[SET_HTTP_LISTEN].text, host, sizeof host, &port) ||
        setting_is_loopback(host))
        return;
    config_fault(l,
                 "%s: http.access: 'open' on %s in production; listen on 127.0.0.1, use 'auto', "
                 "name another env, or say allow_magic_in_production",
                 v[SET_HTTP_ACCESS].origin, host);
}

static void config_together(struct config_load *l)
{
    const struct setting_value *v = l->config->values;
    struct err e = ERR_INIT;
    bool cert = *v[SET_HTTP_TLS_CERT].text != '\0', key = *v[SET_HTTP_TLS_KEY].text != '\0';
    if (cert != key)
        config_fault(l, "http.tls_cert and http.tls_key belong together: %s is missing",
                     cert ? "http.tls_key" : "http.tls_cert");
    if (*v[SET_DATA].text == '\0')
        config_fault(l, "%s: data: must name a folder", v[SET_DATA].origin);
    const char *token = v[SET_TOKEN].text;
    if (*token != '\0' && strlen(token) < CONFIG_TOKEN_MIN)
        config_fault(l, "%s: token: needs at least %d characters", v[SET_TOKEN].origin,
                     CONFIG_TOKEN_MIN);
    config_visible(l, SET_TOKEN);
    config_visible(l, SET_CONFIG_REMOTE_TOKEN);
    config_access(l);
    if (labels_check_only(v[SET_NODE_LABELS].text, v[SET_NODE_ONLY].text, &e) != 0)
        config_fault(l, "%s: node.only: %s", v[SET_NODE_ONLY].origin, e.text);
    if (config_elect_remote(l->config, NULL, &e) == NULL)
        config_fault(l, "%s: %s", v[SET_CONFIG_REMOTE].origin, e.text);
}

/* ---- the whole ---- */

static void config_defaults(struct config_load *l, bool dev)
{
    l->layer = LAYER_DEFAULT;
    for (int i = 0; i < SET_COUNT; i++)
        config_set(l, (enum setting_id)i, settings_table[i].fallback, mem_strdup("default"));
    if (!dev)
        return;
    config_set(l, SET_ENV, "development", mem_strdup("default of dev"));
    config_set(l, SET_HTTP_ACCESS, "open", mem_strdup("default of dev"));
}

int config_load(const struct config_sources *s, struct config **out, struct buf *faults)
{
    struct config_sources sources = *s;
    if (sources.environment == NULL)
        sources.environment = environ;
    AUTO(config_freep) struct config *c = config_new();
    struct config_load l = {.config = c, .faults = faults};
    config_defaults(&l, s->dev);
    config_read_file(&l, &sources);
    config_from_environment(&l, sources.environment);
    config_from_flags(&l, &sources);
    config_resolve(c);
    if (!l.faulty)
        config_together(&l);
    if (l.faulty)
        return ERR_INVALID;
    *out = TAKE(c);
    return 0;
}

struct config *config_with(const struct config *base, enum config_layer layer, const json_t *rows,
                           struct buf *faults)
{
    struct config *c = config_new();
    struct config_load l = {.config = c, .layer = layer, .faults = faults};
    c->file = base->file != NULL ? mem_strdup(base->file) : NULL;
    for (int t = 0; t < LAYER_COUNT; t++) {
        if (t == (int)layer)
            continue;
        json_object_update(c->tiers[t].rows, base->tiers[t].rows);
        for (int i = 0; i < SET_COUNT; i++)
            config_value_copy(&c->tiers[t].values[i], &base->tiers[t].values[i]);
    }
    config_rows(&l, rows);
    config_resolve(c);
    return c;
}

void config_follow(struct config *fresh, const struct config *now)
{
    for (int i = 0; i < SET_COUNT; i++) {
        struct setting_value *v = &fresh->values[i];
        config_value_fini(&fresh->pending[i]);
        if (settings_table[i].live || strcmp(v->text, now->values[i].text) == 0)
            continue;
        fresh->pending[i] = *v;
        *v = (struct setting_value){.text = NULL};
        config_value_copy(v, &now->values[i]);
    }
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    for (int i = 0; i < SET_COUNT; i++) {
        config_value_fini(&c->values[i]);
        config_value_fini(&c->pending[i]);
        for (int t = 0; t < LAYER_COUNT; t++)
            config_value_fini(&c->tiers[t].values[i]);
    }
    for (int t = 0; t < LAYER_COUNT; t++)
        json_decref(c->tiers[t].rows);
    json_decref(c->app);
    json_decref(c->flags);
    json_decref(c->lanes);
    json_decref(c->origins);
    mem_free(c->file);
    mem_free(c);
}

void config_freep(struct config **c)
{
    config_free(*c);
}

const char *config_text(const struct config *c, enum setting_id id)
{
    return c->values[id].text;
}

int64_t config_number(const struct config *c, enum setting_id id)
{
    return c->values[id].number;
}

bool config_is_default(const struct config *c, enum setting_id id)
{
    return str_starts(c->values[id].origin, "default");
}

const char *config_mask(enum setting_id id, const char *text)
{
    const struct setting *s = &settings_table[id];
    bool address = s->kind == SETTING_URL || strstr(text, "://") != NULL;
    bool secret =
        s->kind == SETTING_SECRET || (address && strpbrk(text, "?@") != NULL); /* may be signed */
    return secret && *text != '\0' ? "***" : text;
}

const char *config_shown(const struct config *c, enum setting_id id)
{
    return config_mask(id, c->values[id].text);
}
