/* What `webhook = { .. }` of an `on` says: where messages go, and what they are signed with. */
#ifndef KOAN_BIND_WEBHOOK_LIB_H
#define KOAN_BIND_WEBHOOK_LIB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "bus/webhook.h"

enum {
    WEBHOOK_TIMEOUT_MS = 15 * 1000, /* of one request */
    /* An execution has that and the time for which the target may be left alone, twice. */
    WEBHOOK_HOLD_MS = 2 * 60 * 1000,
};

/* Unknown names, an address that is none, a secret that is none: ERR_INVALID names the field. */
int bind_webhook_check(const json_t *hook, struct err *e);
const char *bind_webhook_url(const json_t *hook);
const char *bind_webhook_source(const json_t *hook);
bool bind_webhook_is_structured(const json_t *hook);
/* Of one request; `e` may be NULL when the hook was checked. */
int bind_webhook_timeout(const json_t *hook, int64_t *ms, struct err *e);
/* The secrets that are valid now: those written there, and those that the configuration has under
 * a name written there (`app`: object, or NULL). ERR_INVALID says which is missing, and nothing of
 * what it is. The caller wipes them. */
int bind_webhook_secrets(const json_t *hook, const json_t *app,
                         struct webhook_secret out[WEBHOOK_SECRETS_MAX], size_t *count,
                         struct err *e);

#endif
