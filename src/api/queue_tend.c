/* What people say of a record of a manual queue: who sees to it, by when, and not before when. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/time.h"

/* A time, or how long from now; null: none. */
static int tend_when(const json_t *v, const char *field, int64_t now, int64_t *out, struct err *e)
{
    int64_t ms = 0;
    *out = 0;
    if (json_is_null(v))
        return 0;
    if (json_is_string(v) && time_parse(json_string_value(v), json_string_length(v), out))
        return 0;
    if (queue_duration(v, field, &ms, NULL) != 0)
        return err_field(e, ERR_INVALID, field,
                         "%s is a time like \"2027-01-31T08:00:00Z\", how long from now, like "
                         "\"3d\", or null",
                         field);
    *out = now + ms;
    return 0;
}

static int tend_owner(const json_t *v, struct core_tend *out, struct err *e)
{
    size_t n = json_string_length(v);
    out->owner = json_string_value(v);
    if (json_is_null(v) || (n >= 1 && n <= CORE_OWNER_MAX))
        return 0;
    return err_field(e, ERR_INVALID, "owner", "owner is a name of 1 to %d bytes, or null: nobody",
                     CORE_OWNER_MAX);
}

bool queue_tend_is_said(const struct core_tend *t)
{
    return t->has_owner || t->has_due || t->has_until;
}

int queue_tend_read(const json_t *o, int64_t now, struct core_tend *out, struct err *e)
{
    const json_t *owner = json_object_get(o, "owner"), *due = json_object_get(o, "due");
    const json_t *snooze = json_object_get(o, "snooze");
    *out = (struct core_tend){
        .has_owner = owner != NULL, .has_due = due != NULL, .has_until = snooze != NULL};
    int rc = owner != NULL ? tend_owner(owner, out, e) : 0;
    if (rc == 0 && due != NULL)
        rc = tend_when(due, "due", now, &out->due_at, e);
    if (rc == 0 && snooze != NULL)
        rc = tend_when(snooze, "snooze", now, &out->until, e);
    return rc;
}

void queue_tend_print(const struct core_view *v, struct buf *out)
{
    char at[TIME_TEXT];
    if (v->owner[0] != '\0') {
        buf_adds(out, ",\"owner\":");
        json_print_string(out, v->owner, strlen(v->owner));
    }
    if (v->due_at == 0)
        return;
    time_format(v->due_at, at);
    buf_addf(out, ",\"due\":\"%s\",\"overdue\":%s", at, v->overdue ? "true" : "false");
}
