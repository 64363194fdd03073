#include "app/settings.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "app/config_app.h"
#include "app/activation.h"
#include "app/config_file.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "io/file.h"

enum { CONFIG_VALUE_MAX = 64 << 10, CONFIG_NAME_MAX = 128, CONFIG_TOKEN_MIN = 16 };

/* Names that look like settings in the environment and are not: other parts of Koan read them. */
static const char *const config_reserved[] = {"KOAN_CONFIG", "KOAN_URL", "KOAN_CACHE"};

struct config_load {
    struct config *config;
    struct buf *faults;
    bool faulty;
};

static void config_fault(struct config_load *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void config_fault(struct config_load *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vaddf(l->faults, fmt, args);
    va_end(args);
    buf_addc(l->faults, '\n');
    l->faulty = true;
}

/* ---- values ---- */

static int config_choice(const struct setting *s, const char *text, int64_t *place, struct err *e)
{
    size_t n = strlen(text);
    *place = 0;
    for (const char *c = s->choices; *c != '\0'; (*place)++) {
        size_t len = strcspn(c, " ");
        if (len == n && memcmp(c, text, n) == 0)
            return 0;
        c += len;
        c += strspn(c, " ");
    }
    return err_set(e, ERR_INVALID, "'%s' is none of: %s", text, s->choices);
}

static int config_range(const struct setting *s, int64_t v, struct err *e)
{
    if ((s->min == 0 && s->max == 0) || (v >= s->min && v <= s->max))
        return 0;
    char low[32], high[32];
    if (s->kind == SETTING_DURATION) {
        duration_format(s->min, low, sizeof low);
        duration_format(s->max, high, sizeof high);
    } else if (s->kind == SETTING_SIZE) {
        size_format((uint64_t)s->min, low, sizeof low);
        size_format((uint64_t)s->max, high, sizeof high);
    } else {
        snprintf(low, sizeof low, "%lld", (long long)s->min);
        snprintf(high, sizeof high, "%lld", (long long)s->max);
    }
    if (s->max == INT64_MAX)
        return err_set(e, ERR_INVALID, "must be at least %s", low);
    return err_set(e, ERR_INVALID, "must be from %s to %s", low, high);
}

static int config_parse(const struct setting *s, const char *text, int64_t *number, struct err *e)
{
    char host[256];
    uint16_t port = 0;
    uint64_t bytes = 0;
    *number = 0;
    switch (s->kind) {
    case SETTING_TEXT:
    case SETTING_PATH:
    case SETTING_SECRET:
        return 0;
    case SETTING_ADDRESS:
        if (setting_address(text, host, sizeof host, &port))
            return 0;
        return err_set(e, ERR_INVALID,
                       "'%s' is no address; write 127.0.0.1:8090, [::1]:8090 or :8090", text);
    case SETTING_INT:
        if (!str_to_i64(text, strlen(text), number))
            return err_set(e, ERR_INVALID, "'%s' is no whole number", text);
        return config_range(s, *number, e);
    case SETTING_DURATION:
        if (duration_parse(text, number, e) != 0)
            return e->code;
        return config_range(s, *number, e);
    case SETTING_SIZE:
        if (size_parse(text, &bytes, e) != 0)
            return e->code;
        *number = bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
        return config_range(s, *number, e);
    case SETTING_CHOICE:
        return config_choice(s, text, number, e);
    }
    PANIC("setting %s has no kind", s->name);
}

/* Takes over `origin`. A wrong value is a fault and leaves the one before. */
static void config_set(struct config_load *l, enum setting_id id, const char *text, char *origin)
{
    struct err e = ERR_INIT;
    int64_t number = 0;
    struct setting_value *v = &l->config->values[id];
    if (config_parse(&settings_table[id], text, &number, &e) != 0) {
        config_fault(l, "%s: %s: %s", origin, settings_table[id].name, e.text);
        mem_free(origin);
        return;
    }
    mem_free(v->text);
    mem_free(v->origin);
    *v = (struct setting_value){mem_strdup(text), number, origin};
}

static void config_unknown(struct config_load *l, const char *origin, const char *name)
{
    const char *names[SET_COUNT];
    for (int i = 0; i < SET_COUNT; i++)
        names[i] = settings_table[i].name;
    const char *near = str_nearest(name, names, SET_COUNT);
    if (near != NULL)
        config_fault(l, "%s: there is no setting '%s'; did you mean '%s'?", origin, name, near);
    else
        config_fault(l, "%s: there is no setting '%s'; `koan config show` lists them", origin,
                     name);
}

/* ---- the file ---- */

static void config_leaf(struct config_load *l, const char *file, const char *name, const json_t *v)
{
    int id = setting_find(name);
    if (id < 0 || strcmp(settings_table[id].name, name) != 0) {
        config_unknown(l, file, name);
    } else if (json_is_string(v)) {
        config_set(l, (enum setting_id)id, json_string_value(v), mem_strdup(file));
    } else if (json_is_integer(v)) {
        AUTO(mem_freep) char *text = mem_printf("%lld", (long long)json_integer_value(v));
        config_set(l, (enum setting_id)id, text, mem_strdup(file));
    } else if (!json_is_null(v)) {
        config_fault(l, "%s: %s: a text or a whole number was expected, not %s", file, name,
                     json_type_name(v));
    }
}

/* True when settings begin with "prefix.". */
static bool config_is_section(const char *prefix)
{
    size_t n = strlen(prefix);
    for (int i = 0; i < SET_COUNT; i++)
        if (strncmp(settings_table[i].name, prefix, n) == 0 && settings_table[i].name[n] == '.')
            return true;
    return false;
}

static void config_tree(struct config_load *l, const char *file, const json_t *tree)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)tree, key, v)
    {
        struct err e = ERR_INIT;
        if (config_app_file(l->config, file, key, v, &e)) {
            if (e.code != 0)
                config_fault(l, "%s: %s", file, e.text);
            continue;
        }
        const char *inner;
        json_t *w;
        if (!json_is_object(v) || !config_is_section(key)) {
            config_leaf(l, file, key, v);
            continue;
        }
        json_object_foreach(v, inner, w)
        {
            AUTO(mem_freep) char *name = mem_printf("%s.%s", key, inner);
            config_leaf(l, file, name, w);
        }
    }
}

static const char *config_environment(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (char *const *v = environment; *v != NULL; v++)
        if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
            return *v + n + 1;
    return NULL;
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
    config_tree(l, path, tree);
    json_decref(tree);
}

/* ---- the environment ---- */

/* "KOAN_HTTP_LISTEN" -> the setting, or -1. A section's underscores are dots, a key's stay. */
static int config_env_find(const char *name, size_t n)
{
    for (int i = 0; i < SET_COUNT; i++) {
        const char *s = settings_table[i].name;
        if (strlen(s) != n)
            continue;
        size_t k = 0;
        for (; k < n; k++) {
            char c = s[k] == '.' ? '_' : s[k] >= 'a' && s[k] <= 'z' ? (char)(s[k] - 32) : s[k];
            if (c != name[k])
                break;
        }
        if (k == n)
            return i;
    }
    return -1;
}

/* Takes over `origin`. */
static void config_set_from_file(struct config_load *l, enum setting_id id, const char *path,
                                 char *origin)
{
    struct err e = ERR_INIT;
    AUTO(mem_freep) char *text = NULL;
    size_t n = 0;
    if (file_read(path, CONFIG_VALUE_MAX, &text, &n, &e) != 0) {
        config_fault(l, "%s: %s", origin, e.text);
        mem_free(origin);
        return;
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        text[--n] = '\0';
    config_set(l, id, text, origin);
}

static void config_env_unknown(struct config_load *l, const char *name)
{
    AUTO(mem_freep) char *lower = mem_strdup(name + strlen("KOAN_"));
    for (char *c = lower; *c != '\0'; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    const char *names[SET_COUNT];
    char *flat[SET_COUNT];
    for (int i = 0; i < SET_COUNT; i++) {
        flat[i] = mem_strdup(settings_table[i].name);
        for (char *c = flat[i]; *c != '\0'; c++)
            *c = *c == '.' ? '_' : *c;
        names[i] = flat[i];
    }
    const char *near = str_nearest(lower, names, SET_COUNT);
    if (near == NULL) {
        config_fault(l, "environment %s: there is no such setting; `koan config show` lists them",
                     name);
    } else {
        AUTO(mem_freep) char *upper = mem_strdup(near);
        for (char *c = upper; *c != '\0'; c++)
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
        config_fault(l, "environment %s: there is no such setting; did you mean KOAN_%s?", name,
                     upper);
    }
    for (int i = 0; i < SET_COUNT; i++)
        mem_free(flat[i]);
}

static bool config_env_ignored(const char *name)
{
    /* Kubernetes sets these for a service that is called koan. */
    if (str_starts(name, "KOAN_PORT") || str_starts(name, "KOAN_SERVICE_"))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(config_reserved); i++)
        if (strcmp(name, config_reserved[i]) == 0)
            return true;
    return false;
}

/* KOAN_APP_RATE, or KOAN_APP_RATE_FILE. A name that ends in _FILE is always the latter. */
static void config_env_app(struct config_load *l, char *const *environment, const char *name,
                           const char *value)
{
    struct err e = ERR_INIT;
    AUTO(mem_freep) char *text = NULL;
    AUTO(mem_freep) char *plain = mem_strdup(name);
    if (str_ends(name, "_FILE")) {
        size_t n = 0;
        plain[strlen(name) - strlen("_FILE")] = '\0';
        if (config_environment(environment, plain) != NULL) {
            config_fault(l, "environment: %s and %s are both set; keep one", plain, name);
            return;
        }
        if (file_read(value, CONFIG_VALUE_MAX, &text, &n, &e) != 0) {
            config_fault(l, "environment %s: %s", name, e.text);
            return;
        }
        while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
            text[--n] = '\0';
    }
    if (config_app_env(l->config, name, plain + strlen("KOAN_APP_"), text != NULL ? text : value,
                       &e) != 0)
        config_fault(l, "environment %s: %s", name, e.text);
}

static void config_env_one(struct config_load *l, char *const *environment, const char *entry)
{
    const char *equals = strchr(entry, '=');
    if (equals == NULL || !str_starts(entry, "KOAN_") || equals - entry >= CONFIG_NAME_MAX)
        return;
    AUTO(mem_freep) char *name = mem_strndup(entry, (size_t)(equals - entry));
    if (config_env_ignored(name))
        return;
    const char *key = name + strlen("KOAN_");
    size_t n = strlen(key);
    if (str_starts(key, "APP_")) {
        config_env_app(l, environment, name, equals + 1);
        return;
    }
    int id = config_env_find(key, n);
    if (id >= 0) {
        config_set(l, (enum setting_id)id, equals + 1, mem_printf("environment %s", name));
        return;
    }
    if (str_ends(key, "_FILE"))
        id = config_env_find(key, n - strlen("_FILE"));
    if (id < 0) {
        config_env_unknown(l, name);
        return;
    }
    AUTO(mem_freep) char *plain = mem_strndup(name, strlen(name) - strlen("_FILE"));
    if (config_environment(environment, plain) != NULL)
        config_fault(l, "environment: %s and %s are both set; keep one", plain, name);
    else
        config_set_from_file(l, (enum setting_id)id, equals + 1,
                             mem_printf("environment %s", name));
}

/* PORT changes the port of whatever address stands so far, as hosting platforms expect. */
static void config_env_port(struct config_load *l, char *const *environment)
{
    const char *port = config_environment(environment, "PORT");
    if (port == NULL || *port == '\0')
        return;
    char host[256];
    uint16_t old = 0;
    uint64_t number = 0;
    if (!str_to_u64(port, strlen(port), &number) || number > UINT16_MAX) {
        config_fault(l, "environment PORT: '%s' is no port", port);
        return;
    }
    if (!setting_address(l->config->values[SET_HTTP_LISTEN].text, host, sizeof host, &old))
        return;
    AUTO(mem_freep)
    char *text = mem_printf(strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
    config_set(l, SET_HTTP_LISTEN, text, mem_strdup("environment PORT"));
}

/* ---- what systemd hands over ---- */

/* A setting that is a path means the credential itself. */
static void config_credential(void *arg, const char *name, const char *path)
{
    struct config_load *l = arg;
    char *origin = mem_printf("credential koan.%s", name);
    int id = setting_find(name);
    if (id < 0 || strcmp(settings_table[id].name, name) != 0) {
        config_unknown(l, origin, name);
        mem_free(origin);
    } else if (settings_table[id].kind == SETTING_PATH) {
        config_set(l, (enum setting_id)id, path, origin);
    } else {
        config_set_from_file(l, (enum setting_id)id, path, origin);
    }
}

static void config_credentials(struct config_load *l, char *const *environment)
{
    struct err e = ERR_INIT;
    const char *folder = config_environment(environment, "CREDENTIALS_DIRECTORY");
    if (folder != NULL && activation_credentials(folder, config_credential, l, &e) != 0)
        config_fault(l, "%s", e.text);
}

/* Last of all: whatever else names an address, this is the one that is served. */
static void config_activation(struct config_load *l, char *const *environment)
{
    struct err e = ERR_INIT;
    char address[ACTIVATION_ADDRESS_MAX];
    int fd = activation_socket(environment, address, &e);
    if (fd < 0)
        config_fault(l, "%s", e.text);
    else if (fd > 0)
        config_set(l, SET_HTTP_LISTEN, address, mem_strdup("systemd's socket"));
}

/* ---- flags, and what settings demand of each other ---- */

static void config_flags(struct config_load *l, const struct config_sources *s)
{
    for (size_t i = 0; i < s->flags_count; i++) {
        const struct config_flag *f = &s->flags[i];
        AUTO(mem_freep) char *origin = mem_printf("flag --%s", f->name);
        int id = setting_find(f->name);
        if (id < 0)
            config_unknown(l, origin, f->name);
        else if (f->value == NULL)
            config_fault(l, "%s: needs a value", origin);
        else
            config_set(l, (enum setting_id)id, f->value, TAKE(origin));
    }
}

static void config_together(struct config_load *l)
{
    const struct setting_value *v = l->config->values;
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
    for (const char *c = token; *c != '\0'; c++)
        if (*c <= ' ' || *c >= 127) {
            config_fault(l, "%s: token: must be visible ASCII without blanks", v[SET_TOKEN].origin);
            break;
        }
    char host[256];
    uint16_t port = 0;
    if (strcmp(v[SET_HTTP_ACCESS].text, "open") == 0 &&
        strcmp(v[SET_ENV].text, "production") == 0 &&
        setting_address(v[SET_HTTP_LISTEN].text, host, sizeof host, &port) &&
        !setting_is_loopback(host))
        config_fault(l,
                     "%s: http.access: 'open' on %s in production; listen on 127.0.0.1, use "
                     "'auto', or name another env",
                     v[SET_HTTP_ACCESS].origin, host);
}

int config_load(const struct config_sources *s, struct config **out, struct buf *faults)
{
    struct config_sources sources = *s;
    if (sources.environment == NULL)
        sources.environment = environ;
    AUTO(config_freep) struct config *c = mem_new(sizeof *c);
    struct config_load l = {.config = c, .faults = faults};
    c->app = json_object();
    c->flags = json_object();
    c->app_origins = json_object();
    for (int i = 0; i < SET_COUNT; i++)
        config_set(&l, (enum setting_id)i, settings_table[i].fallback, mem_strdup("default"));
    if (sources.dev) {
        config_set(&l, SET_ENV, "development", mem_strdup("default of dev"));
        config_set(&l, SET_HTTP_ACCESS, "open", mem_strdup("default of dev"));
    }
    config_read_file(&l, &sources);
    config_env_port(&l, sources.environment);
    config_credentials(&l, sources.environment);
    for (char *const *v = sources.environment; *v != NULL; v++)
        config_env_one(&l, sources.environment, *v);
    config_flags(&l, &sources);
    config_activation(&l, sources.environment);
    if (!l.faulty)
        config_together(&l);
    if (l.faulty)
        return ERR_INVALID;
    *out = TAKE(c);
    return 0;
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    for (int i = 0; i < SET_COUNT; i++) {
        mem_free(c->values[i].text);
        mem_free(c->values[i].origin);
    }
    json_decref(c->app);
    json_decref(c->flags);
    json_decref(c->app_origins);
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

const char *config_shown(const struct config *c, enum setting_id id)
{
    if (settings_table[id].kind == SETTING_SECRET && *c->values[id].text != '\0')
        return "***";
    return c->values[id].text;
}
