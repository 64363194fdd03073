/* The environment, what systemd hands over, and flags. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/activation.h"
#include "app/config_app.h"
#include "app/config_priv.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

enum { CONFIG_VALUE_MAX = 64 << 10, CONFIG_NAME_MAX = 128 };

/* Names that look like settings in the environment and are not: other parts of Koan read them. */
static const char *const config_reserved[] = {"KOAN_CONFIG", "KOAN_URL", "KOAN_CACHE"};

const char *config_environment(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (char *const *v = environment; *v != NULL; v++)
        if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
            return *v + n + 1;
    return NULL;
}

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
    if (config_app_env(l, name, plain + strlen("KOAN_APP_"), text != NULL ? text : value, &e) != 0)
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
    if (!setting_address(config_so_far(l, SET_HTTP_LISTEN), host, sizeof host, &old))
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

/* ---- flags ---- */

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

/* ---- in their order ---- */

void config_from_environment(struct config_load *l, char *const *environment)
{
    l->layer = LAYER_ENVIRONMENT;
    config_env_port(l, environment);
    config_credentials(l, environment);
    for (char *const *v = environment; *v != NULL; v++)
        config_env_one(l, environment, *v);
}

void config_from_flags(struct config_load *l, const struct config_sources *s)
{
    l->layer = LAYER_FLAG;
    config_flags(l, s);
    config_activation(l, s->environment);
}
