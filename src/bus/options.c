/* What a group says of its records, in the form that deploys bring it: times are milliseconds. The
 * rest of the members (batch, webhook ..) is not of the bus. */
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "base/topic.h"
#include "bus/bus_priv.h"

static int option_number(const json_t *o, const char *name, int64_t least, int64_t most,
                         int64_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, name);
    if (v == NULL)
        return 0;
    *out = json_integer_value(v);
    if (!json_is_integer(v) || *out < least || *out > most)
        return err_field(e, ERR_INVALID, name, "%s is a number from %lld to %lld", name,
                         (long long)least, (long long)most);
    return 0;
}

static int option_text(const json_t *v, const char *name, const char **out, struct err *e)
{
    *out = json_string_value(v);
    size_t n = *out != NULL ? strlen(*out) : 0;
    if (n < 1 || n > CORE_TEXT_MAX)
        return err_field(e, ERR_INVALID, name, "%s is text of 1 to %d bytes", name, CORE_TEXT_MAX);
    return 0;
}

static int backoff_wait(const json_t *v, uint32_t *out, struct err *e)
{
    json_int_t ms = json_integer_value(v);
    if (!json_is_integer(v) || ms < 1 || ms > UINT32_MAX)
        return err_field(e, ERR_INVALID, "backoff", "a wait is from 1 ms to 49 days");
    *out = (uint32_t)ms;
    return 0;
}

static int option_backoff(const json_t *v, struct bus_options *out, struct err *e)
{
    struct core_backoff *b = &out->backoff;
    size_t n = json_array_size(v);
    int rc = 0;
    if (v == NULL)
        return 0;
    out->has_backoff = true;
    if (json_is_object(v)) {
        rc = backoff_wait(json_object_get(v, "first"), &b->first, e);
        return rc == 0 ? backoff_wait(json_object_get(v, "cap"), &b->cap, e) : rc;
    }
    if (n == 0 || n > CORE_BACKOFF_LIST_MAX)
        return err_field(e, ERR_INVALID, "backoff",
                         "backoff is {\"first\", \"cap\"} or a list of 1 to %d waits",
                         CORE_BACKOFF_LIST_MAX);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = backoff_wait(json_array_get(v, i), &b->list[i], e);
    b->list_count = (uint8_t)n;
    return rc;
}

static int option_gates(const json_t *v, struct bus_options *out, struct err *e)
{
    size_t n = json_array_size(v);
    int rc = 0;
    if (v == NULL)
        return 0;
    if (!json_is_array(v) || n > CORE_GATES_MAX)
        return err_field(e, ERR_INVALID, "gate", "gate is a list of at most %d names",
                         CORE_GATES_MAX);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = option_text(json_array_get(v, i), "gate", &out->gates[i], e);
    out->gates_count = (uint8_t)n;
    return rc;
}

static int option_need(const char *name, const json_t *v, struct core_label *out, struct err *e)
{
    *out = (struct core_label){.name = name};
    if (*name == '\0' || strlen(name) > CORE_TEXT_MAX)
        return err_field(e, ERR_INVALID, "needs", "a label has 1 to %d bytes", CORE_TEXT_MAX);
    if (json_is_true(v))
        return 0;
    if (json_is_string(v))
        return option_text(v, "needs", &out->text, e);
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 1 || n > UINT32_MAX)
        return err_field(e, ERR_INVALID, "needs", "label '%.64s' is true, text or a number from 1",
                         name);
    out->number = (uint32_t)n;
    return 0;
}

static int option_needs(const json_t *v, struct bus_options *out, struct err *e)
{
    const char *name;
    json_t *label;
    int rc = 0;
    if (v == NULL)
        return 0;
    if (!json_is_object(v) || json_object_size(v) > CORE_LABELS_MAX)
        return err_field(e, ERR_INVALID, "needs", "needs is an object of at most %d labels",
                         CORE_LABELS_MAX);
    json_object_foreach((json_t *)v, name, label)
    {
        if (rc == 0)
            rc = option_need(name, label, &out->needs[out->needs_count++], e);
    }
    return rc;
}

int bus_start_read(const json_t *v, struct bus_start *out, struct err *e)
{
    const char *text = json_string_value(v);
    const json_t *position = json_object_get(v, "position");
    *out = (struct bus_start){.from = BUS_FROM_NEW};
    if (v == NULL || json_is_null(v) || (text != NULL && strcmp(text, "new") == 0))
        return 0;
    if (text != NULL && strcmp(text, "first") == 0) {
        out->from = BUS_FROM_FIRST;
        return 0;
    }
    if (text != NULL && time_parse(text, strlen(text), &out->at) && out->at >= 0) {
        out->from = BUS_FROM_TIME;
        return 0;
    }
    if (json_is_integer(position) && json_integer_value(position) >= 0 &&
        json_object_size(v) == 1) {
        out->from = BUS_FROM_POSITION;
        out->position = (uint64_t)json_integer_value(position);
        return 0;
    }
    return err_field(e, ERR_INVALID, "start",
                     "it is \"first\", \"new\", a time like \"2026-11-22T13:57:14Z\" or "
                     "{\"position\": 7}");
}

int bus_options_read(const json_t *o, struct bus_options *out, struct err *e)
{
    static const int64_t ms_max = INT64_C(100) * 366 * 86400 * 1000;
    int64_t attempts = 0, timeout = 0, priority = -1;
    const json_t *lane = json_object_get(o, "lane");
    memset(out, 0, sizeof *out);
    int rc = option_number(o, "attempts", 1, CORE_ATTEMPTS_MAX, &attempts, e);
    if (rc == 0)
        rc = option_backoff(json_object_get(o, "backoff"), out, e);
    if (rc == 0)
        rc = option_number(o, "timeout", 1, UINT32_MAX, &timeout, e);
    if (rc == 0)
        rc = option_number(o, "ttl", 1, ms_max, &out->ttl_ms, e);
    if (rc == 0)
        rc = option_number(o, "deadline", 1, ms_max, &out->deadline_ms, e);
    if (rc == 0)
        rc = option_number(o, "priority", 0, CORE_PRIORITY_MAX, &priority, e);
    if (rc == 0 && lane != NULL)
        rc = option_text(lane, "lane", &out->lane, e);
    if (rc == 0 && lane != NULL)
        rc = str_check_name(out->lane, "lane", e);
    if (rc == 0)
        rc = option_gates(json_object_get(o, "gate"), out, e);
    if (rc == 0)
        rc = option_needs(json_object_get(o, "needs"), out, e);
    if (rc == 0)
        rc = bus_start_read(json_object_get(o, "start"), &out->start, e);
    out->attempts = (uint16_t)attempts;
    out->timeout_ms = (uint32_t)timeout;
    out->has_priority = priority >= 0;
    out->priority = (uint8_t)(priority >= 0 ? priority : 0);
    return rc;
}
