#include "bind/webhook_lib.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "bind/queue_lib.h"
#include "http/fetch.h"
#include "http/target.h"

const char *bind_webhook_url(const json_t *hook)
{
    return json_string_value(json_object_get(hook, "url"));
}

const char *bind_webhook_source(const json_t *hook)
{
    const char *source = json_string_value(json_object_get(hook, "source"));
    return source != NULL ? source : "koan";
}

bool bind_webhook_is_structured(const json_t *hook)
{
    const char *format = json_string_value(json_object_get(hook, "format"));
    return format != NULL && strcmp(format, "structured") == 0;
}

int bind_webhook_timeout(const json_t *hook, int64_t *ms, struct err *e)
{
    *ms = WEBHOOK_TIMEOUT_MS;
    int rc = bind_duration_read(hook, "timeout", ms, e);
    if (rc == 0 && (*ms < 1 || *ms > FETCH_TIMEOUT_MAX_MS))
        return err_field(e, ERR_INVALID, "timeout", "timeout: from 1 ms to %d s",
                         FETCH_TIMEOUT_MAX_MS / 1000);
    return rc;
}

/* ---- secrets ---- */

/* One as it is written, or as the configuration has it. */
static int secret_add(const json_t *v, struct webhook_secret *out, size_t *count, struct err *e)
{
    if (!json_is_string(v) || *count == WEBHOOK_SECRETS_MAX)
        return err_field(e, ERR_INVALID, "secret",
                         "secret is a text or a list of at most %d: \"whsec_..\", or the name of a "
                         "value of the configuration",
                         WEBHOOK_SECRETS_MAX);
    int rc = webhook_secret_read(json_string_value(v), &out[*count], e);
    if (rc != 0)
        return err_context(e, "secret");
    (*count)++;
    return 0;
}

static int secret_look(const json_t *v, const json_t *app, struct webhook_secret *out,
                       size_t *count, struct err *e)
{
    const char *text = json_string_value(v);
    if (text == NULL || str_starts(text, "whsec_"))
        return secret_add(v, out, count, e);
    json_t *held = app != NULL ? json_path(app, text) : NULL;
    if (!json_is_string(held) && !json_is_array(held))
        return err_field(e, ERR_INVALID, "secret",
                         "the configuration has no text app.%.80s; `koan config set app.%.80s "
                         "whsec_..` sets it",
                         text, text);
    if (json_is_string(held))
        return secret_add(held, out, count, e);
    for (size_t i = 0; i < json_array_size(held); i++)
        if (secret_add(json_array_get(held, i), out, count, e) != 0)
            return e->code;
    return 0;
}

int bind_webhook_secrets(const json_t *hook, const json_t *app,
                         struct webhook_secret out[WEBHOOK_SECRETS_MAX], size_t *count,
                         struct err *e)
{
    const json_t *v = json_object_get(hook, "secret");
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    int rc = 0;
    *count = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = secret_look(json_is_array(v) ? json_array_get(v, i) : v, app, out, count, e);
    if (rc == 0 && *count == 0)
        rc = err_field(e, ERR_INVALID, "secret", "a webhook is signed with at least one secret");
    return rc;
}

/* ---- as it is declared ---- */

/* Those that the configuration is to have are not looked for before they are needed. */
static int check_secret(const json_t *v, struct err *e)
{
    struct webhook_secret s;
    const char *text = json_string_value(v);
    if (text == NULL || *text == '\0')
        return err_field(e, ERR_INVALID, "secret",
                         "secret = \"whsec_..\", or the name of a value of the configuration");
    if (!str_starts(text, "whsec_"))
        return 0;
    int rc = webhook_secret_read(text, &s, e);
    webhook_secret_wipe(&s);
    return rc == 0 ? 0 : err_context(e, "secret");
}

static int check_url(const json_t *hook, struct err *e)
{
    struct target t;
    const char *url = bind_webhook_url(hook);
    if (url == NULL)
        return err_field(e, ERR_INVALID, "url", "url = \"https://..\" is missing");
    int rc = target_parse(url, strlen(url), &t, e);
    return rc == 0 ? 0 : err_context(e, "url");
}

static int check_format(const json_t *hook, struct err *e)
{
    const char *format = NULL, *source = NULL;
    if (json_get_string(hook, "format", &format, e) == ERR_INVALID ||
        json_get_string(hook, "source", &source, e) == ERR_INVALID)
        return e->code;
    if (format != NULL && strcmp(format, "binary") != 0 && strcmp(format, "structured") != 0)
        return err_field(e, ERR_INVALID, "format",
                         "format is \"binary\" or \"structured\", not '%.40s'", format);
    if (source != NULL && (*source == '\0' || strpbrk(source, " \"<>\\^`{|}\r\n\t") != NULL))
        return err_field(e, ERR_INVALID, "source",
                         "source is a URI, or a part of one like \"/shop\"");
    return 0;
}

int bind_webhook_check(const json_t *hook, struct err *e)
{
    static const char *const names[] = {"url", "secret", "timeout", "format", "source"};
    const json_t *secret = json_object_get(hook, "secret");
    int64_t timeout;
    if (!json_is_object(hook))
        return err_field(e, ERR_INVALID, "webhook",
                         "webhook = { url = \"https://..\", secret = \"whsec_..\" }");
    if (json_only_keys(hook, "a webhook", names, ARRAY_LEN(names), e) != 0 ||
        check_url(hook, e) != 0 || check_format(hook, e) != 0 ||
        bind_webhook_timeout(hook, &timeout, e) != 0)
        return err_context(e, "webhook");
    if (json_is_array(secret) && json_array_size(secret) > WEBHOOK_SECRETS_MAX)
        return err_field(e, ERR_INVALID, "secret", "webhook: at most %d secrets",
                         WEBHOOK_SECRETS_MAX);
    size_t n = json_is_array(secret) ? json_array_size(secret) : 1;
    for (size_t i = 0; i < n; i++)
        if (check_secret(json_is_array(secret) ? json_array_get(secret, i) : secret, e) != 0)
            return err_context(e, "webhook");
    return n > 0 ? 0 : err_field(e, ERR_INVALID, "secret", "webhook: secret is missing");
}
