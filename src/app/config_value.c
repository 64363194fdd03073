/* One value of a setting: is it right, and what does it mean. */
#include <stdio.h>
#include <string.h>

#include "app/config_priv.h"
#include "app/labels.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "http/target.h"

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

/* What is wrong is not repeated: it may hold a password. */
static int config_url(const char *text, struct err *e)
{
    struct target t;
    if (*text == '\0')
        return 0;
    if (target_parse(text, strlen(text), &t, NULL) != 0)
        return err_set(
            e, ERR_INVALID,
            "is no https URL; it may hold neither user nor password, they have a setting "
            "of their own");
    if (!t.https && !setting_is_loopback(t.host))
        return err_set(e, ERR_INVALID, "must be https: http is for loopback addresses only");
    return 0;
}

static int config_labels(const struct setting *s, const char *text, struct err *e)
{
    AUTO(json_unref) json_t *v = NULL;
    return s->kind == SETTING_LABELS ? labels_read(text, &v, e) : labels_read_names(text, &v, e);
}

int config_parse(const struct setting *s, const char *text, int64_t *number, struct err *e)
{
    *number = 0;
    if (strstr(text, "{{secret:") != NULL || strstr(text, "${secret://") != NULL)
        return err_set(e, ERR_UNSUPPORTED,
                       "this version has no vault to take a secret from; name "
                       "a file that holds it in the environment variable that "
                       "ends in _FILE");
    char host[256];
    uint16_t port = 0;
    uint64_t bytes = 0;
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
    case SETTING_BOOL:
        *number = strcmp(text, "true") == 0;
        if (*number != 0 || strcmp(text, "false") == 0)
            return 0;
        return err_set(e, ERR_INVALID, "'%s' is neither true nor false", text);
    case SETTING_URL:
        return config_url(text, e);
    case SETTING_LABELS:
    case SETTING_NAMES:
        return config_labels(s, text, e);
    }
    PANIC("setting %s has no kind", s->name);
}

int config_no_setting(const char *name, struct err *e)
{
    static const char *const sections[] = {"app", "flags", "lanes"};
    const char *names[SET_COUNT];
    for (int i = 0; i < SET_COUNT; i++)
        names[i] = settings_table[i].name;
    const char *near = str_nearest(name, names, SET_COUNT), *dot = strchr(name, '.');
    if (near != NULL)
        return err_field(e, ERR_INVALID, name, "there is no setting '%.200s'; did you mean '%s'?",
                         name, near);
    if (dot != NULL) {
        AUTO(mem_freep) char *section = mem_strndup(name, (size_t)(dot - name));
        near = str_nearest(section, sections, ARRAY_LEN(sections));
        if (near != NULL)
            return err_field(e, ERR_INVALID, name,
                             "there is no setting '%.200s'; did you mean '%s%.200s'?", name, near,
                             dot);
    }
    return err_field(e, ERR_INVALID, name,
                     "there is no setting '%.200s'; `koan config show` lists them", name);
}
