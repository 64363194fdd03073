/* Webhooks that cannot work yet, seen before the first message has used up its tries: what the live
 * set declares of them is kept beside its status, and held against the settings in force whenever
 * somebody asks. Of names that are no addresses nothing is known before they are called. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "bind/bus_lib.h"
#include "bind/webhook_lib.h"
#include "http/address.h"
#include "http/target.h"

/* The secrets that the configuration is to have, by name; what is written there is nobody's. */
static json_t *names_of(const json_t *secret)
{
    json_t *names = json_array();
    size_t n = json_is_array(secret) ? json_array_size(secret) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_is_array(secret) ? json_array_get(secret, i) : secret;
        if (json_is_string(v) && !str_starts(json_string_value(v), "whsec_"))
            json_array_append(names, (json_t *)(uintptr_t)v);
    }
    return names;
}

static json_t *hook_json(const struct bind_listener *l)
{
    struct target to;
    const char *url = bind_webhook_url(l->webhook);
    if (target_parse(url, strlen(url), &to, NULL) != 0)
        return NULL;
    return json_pack("{s:s, s:s, s:i, s:s, s:o}", "label", l->label, "file", l->file, "line",
                     l->line, "host", to.host, "secrets",
                     names_of(json_object_get(l->webhook, "secret")));
}

void bind_webhooks_publish(struct bind *b, const struct bind_set *live)
{
    AUTO(json_unref) json_t *list = json_array();
    const struct bind_bus *bus = live->bus;
    for (size_t i = 0; bus != NULL && i < bus->count; i++)
        if (bus->list[i]->kind == LISTENS_WEBHOOK)
            json_array_append_new(list, hook_json(bus->list[i]));
    char *text = bind_json_text(list);
    pthread_mutex_lock(&b->status_lock);
    mem_free(b->webhooks);
    b->webhooks = text;
    pthread_mutex_unlock(&b->status_lock);
}

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void say(json_t *out, const json_t *hook, char *text)
{
    json_array_append_new(out, json_pack("{s:O, s:O, s:s}", "file", json_object_get(hook, "file"),
                                         "line", json_object_get(hook, "line"), "text", text));
    mem_free(text);
}

static void look_at_secrets(json_t *out, const json_t *hook, const json_t *app)
{
    const json_t *names = json_object_get(hook, "secrets");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        const json_t *held = app != NULL ? json_path((json_t *)(uintptr_t)app, name) : NULL;
        if (!json_is_string(held) && !json_is_array(held))
            say(out, hook,
                mem_printf("webhook of %s: the configuration has no text app.%s; `koan config set "
                           "app.%s whsec_..` sets it",
                           text_of(hook, "label"), name, name));
    }
}

static bool is_local_name(const char *host)
{
    return strcmp(host, "localhost") == 0 || str_ends(host, ".localhost");
}

static void look_at_host(json_t *out, const json_t *hook, const char *allow)
{
    const char *host = text_of(hook, "host");
    bool local = is_local_name(host);
    if (!local && (!address_is_numeric(host) || address_is_public(host)))
        return;
    if (address_is_allowed(allow, host, local ? "127.0.0.1" : host))
        return;
    bool first = allow == NULL || *allow == '\0';
    say(out, hook,
        mem_printf("webhook of %s: '%s' is a private address; `koan config set http.allow "
                   "%s%s%s%s%s` lets scripts call it",
                   text_of(hook, "label"), host, first ? "" : "\"", first ? "" : allow,
                   first ? "" : " ", host, first ? "" : "\""));
}

json_t *bind_webhooks_unset(struct bind *b)
{
    pthread_mutex_lock(&b->status_lock);
    AUTO(mem_freep) char *hooks = mem_strdup(b->webhooks != NULL ? b->webhooks : "[]");
    AUTO(mem_freep) char *settings = mem_strdup(b->settings != NULL ? b->settings : "{}");
    pthread_mutex_unlock(&b->status_lock);
    json_t *out = json_array();
    if (strcmp(hooks, "[]") == 0)
        return out;
    AUTO(json_unref) json_t *list = json_read(hooks, strlen(hooks), NULL);
    AUTO(json_unref) json_t *in_force = json_read(settings, strlen(settings), NULL);
    size_t i;
    json_t *hook;
    json_array_foreach(list, i, hook)
    {
        look_at_secrets(out, hook, json_object_get(in_force, "app"));
        look_at_host(out, hook, text_of(in_force, "http_allow"));
    }
    return out;
}
