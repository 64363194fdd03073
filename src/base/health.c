#include "base/health.h"

#include <pthread.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

struct health_row {
    char name[HEALTH_NAME_MAX + 1];
    bool critical, reported;
    enum health_state state;
    uint64_t at_ms, ttl_ms;
    char *message, *facts; /* NULL: none; facts are JSON text */
};

struct health_board {
    pthread_mutex_t lock;
    uint64_t (*now_ms)(void *arg);
    void *arg;
    size_t count;
    uint64_t refused;                              /* components that found no room */
    struct health_row rows[HEALTH_COMPONENTS_MAX]; /* by name */
};

static const char *const health_names[] = {"healthy", "unknown", "degraded", "unhealthy"};

struct health_board *health_board_new(uint64_t (*now_ms)(void *arg), void *arg)
{
    struct health_board *b = mem_new(sizeof *b);
    pthread_mutex_init(&b->lock, NULL);
    b->now_ms = now_ms;
    b->arg = arg;
    return b;
}

static void health_row_fini(struct health_row *r)
{
    mem_free(r->message);
    mem_free(r->facts);
}

void health_board_free(struct health_board *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        health_row_fini(&b->rows[i]);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

/* Where `name` stands, or belongs; true when it is there. Under the lock. */
static bool health_find(const struct health_board *b, const char *name, size_t *at)
{
    size_t i = 0;
    while (i < b->count && strncmp(b->rows[i].name, name, HEALTH_NAME_MAX) < 0)
        i++;
    *at = i;
    return i < b->count && strncmp(b->rows[i].name, name, HEALTH_NAME_MAX) == 0;
}

/* Made when it is not there; NULL without room. Under the lock. */
static struct health_row *health_row_of(struct health_board *b, const char *name)
{
    size_t at;
    if (health_find(b, name, &at))
        return &b->rows[at];
    if (b->count == HEALTH_COMPONENTS_MAX) {
        b->refused++;
        return NULL;
    }
    memmove(&b->rows[at + 1], &b->rows[at], (b->count - at) * sizeof b->rows[0]);
    b->count++;
    struct health_row *r = &b->rows[at];
    memset(r, 0, sizeof *r);
    str_copy(r->name, sizeof r->name, name);
    str_utf8_repair(r->name, strlen(r->name));
    return r;
}

void health_declare(struct health_board *b, const char *name, bool critical)
{
    if (b == NULL)
        return;
    pthread_mutex_lock(&b->lock);
    struct health_row *r = health_row_of(b, name);
    if (r != NULL)
        r->critical = critical;
    pthread_mutex_unlock(&b->lock);
}

/* A copy of at most HEALTH_MESSAGE_MAX bytes, whole characters. */
static char *health_message(const char *s)
{
    if (s == NULL || *s == '\0')
        return NULL;
    size_t n = strnlen(s, HEALTH_MESSAGE_MAX + 1);
    if (n > HEALTH_MESSAGE_MAX) {
        n = HEALTH_MESSAGE_MAX;
        while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
            n--;
    }
    char *copy = mem_strndup(s, n);
    str_utf8_repair(copy, n);
    return copy;
}

/* The members that fit, as an object; what did not is counted under "left_out". */
static char *health_facts(const json_t *facts)
{
    if (json_object_size(facts) == 0)
        return NULL;
    AUTO(buf_fini) struct buf all = BUF_INIT(HEALTH_FACTS_BYTES + 64);
    int taken = 0, left = 0;
    const char *key;
    json_t *v;
    buf_addc(&all, '{');
    json_object_foreach((json_t *)facts, key, v)
    {
        AUTO(buf_fini) struct buf one = BUF_INIT(HEALTH_FACTS_BYTES);
        buf_adds(&one, taken > 0 ? "," : "");
        json_print_string(&one, key, strlen(key));
        buf_addc(&one, ':');
        bool bad = json_print(v, &one, NULL) != 0 || buf_failed(&one);
        if (bad || taken == HEALTH_FACTS_MAX || all.len + one.len + 1 > HEALTH_FACTS_BYTES) {
            left++;
            continue;
        }
        buf_add(&all, one.data, one.len);
        taken++;
    }
    if (left > 0)
        buf_addf(&all, "%s\"left_out\":%d", taken > 0 ? "," : "", left);
    buf_addc(&all, '}');
    return buf_take(&all);
}

void health_report(struct health_board *b, const char *name, enum health_state state,
                   uint64_t ttl_ms, const char *message, json_t *facts)
{
    if (b == NULL) {
        json_decref(facts);
        return;
    }
    char *text = health_message(message), *shown = health_facts(facts);
    json_decref(facts);
    if (ttl_ms == 0)
        ttl_ms = HEALTH_TTL_MS;
    pthread_mutex_lock(&b->lock);
    struct health_row *r = health_row_of(b, name);
    if (r != NULL) {
        char *old_text = r->message, *old_shown = r->facts;
        r->reported = true;
        r->state = state;
        r->at_ms = b->now_ms(b->arg);
        r->ttl_ms = ttl_ms < HEALTH_TTL_MIN_MS   ? HEALTH_TTL_MIN_MS
                    : ttl_ms > HEALTH_TTL_MAX_MS ? HEALTH_TTL_MAX_MS
                                                 : ttl_ms;
        r->message = text;
        r->facts = shown;
        text = old_text;
        shown = old_shown;
    }
    pthread_mutex_unlock(&b->lock);
    mem_free(text);
    mem_free(shown);
}

void health_forget(struct health_board *b, const char *name)
{
    size_t at;
    if (b == NULL)
        return;
    pthread_mutex_lock(&b->lock);
    if (health_find(b, name, &at)) {
        health_row_fini(&b->rows[at]);
        b->count--;
        memmove(&b->rows[at], &b->rows[at + 1], (b->count - at) * sizeof b->rows[0]);
    }
    pthread_mutex_unlock(&b->lock);
}

const char *health_state_name(enum health_state s)
{
    return health_names[s];
}

enum health_state health_worse(enum health_state a, enum health_state b)
{
    return a > b ? a : b;
}

/* What it said, as long as that holds. */
static enum health_state health_state_now(const struct health_row *r, uint64_t now)
{
    return r->reported && now - r->at_ms <= r->ttl_ms ? r->state : HEALTH_UNKNOWN;
}

/* What this row says about the whole. */
static enum health_state health_weight(const struct health_row *r, enum health_state now)
{
    if (now == HEALTH_HEALTHY)
        return HEALTH_HEALTHY;
    return r->critical && now == HEALTH_UNHEALTHY ? HEALTH_UNHEALTHY : HEALTH_DEGRADED;
}

static void health_print_row(const struct health_row *r, enum health_state state, uint64_t now,
                             bool details, struct buf *out)
{
    buf_adds(out, "{\"name\":");
    json_print_string(out, r->name, strlen(r->name));
    buf_addf(out, ",\"state\":\"%s\",\"critical\":%s", health_names[state],
             r->critical ? "true" : "false");
    if (r->reported)
        buf_addf(out, ",\"age_s\":%llu,\"ttl_s\":%llu",
                 (unsigned long long)((now - r->at_ms) / 1000),
                 (unsigned long long)(r->ttl_ms / 1000));
    if (details && r->message != NULL) {
        buf_adds(out, ",\"message\":");
        json_print_string(out, r->message, strlen(r->message));
    }
    if (details && r->facts != NULL) {
        buf_adds(out, ",\"facts\":");
        buf_adds(out, r->facts);
    }
    buf_addc(out, '}');
}

enum health_state health_overall(struct health_board *b, bool details, struct buf *out)
{
    enum health_state all = HEALTH_HEALTHY;
    if (out != NULL)
        buf_addc(out, '[');
    if (b != NULL) {
        pthread_mutex_lock(&b->lock);
        uint64_t now = b->now_ms(b->arg);
        for (size_t i = 0; i < b->count; i++) {
            enum health_state state = health_state_now(&b->rows[i], now);
            all = health_worse(all, health_weight(&b->rows[i], state));
            if (out == NULL)
                continue;
            if (i > 0)
                buf_addc(out, ',');
            health_print_row(&b->rows[i], state, now, details, out);
        }
        if (b->refused > 0)
            all = health_worse(all, HEALTH_DEGRADED);
        pthread_mutex_unlock(&b->lock);
    }
    if (out != NULL)
        buf_addc(out, ']');
    return all;
}
