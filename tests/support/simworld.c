#include "support/simworld.h"

#include <stdarg.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "support/simdisk.h"

enum { SIM_START_MS = 1700000000, SIM_DELAY_NS = 40000 };

enum event_kind { EVENT_TASK, EVENT_TIMER, EVENT_WORK, EVENT_DONE };

struct event {
    struct event *next;
    uint64_t due;
    enum event_kind kind;
    void *what;
};

/* Tasks of one runner keep their order, whatever delay each draws. */
struct sim_runner {
    struct runner base;
    struct sim *sim;
    const char *name;
    uint64_t last_due;
};

struct sim {
    struct world world;
    struct sim_runner own, client;
    struct simdisk *disk;
    uint64_t seed, chance;
    uint64_t now;
    int64_t wall_offset_ms;
    struct event *events; /* by time, then age */
    uint64_t log_thread_free;
    bool frozen;
    char died_of[160];
    FILE *trace;
    uint64_t trace_hash;
};

/* ---- Chance: splitmix64 ---- */

static uint64_t sim_next(struct sim *s)
{
    uint64_t z = (s->chance += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t sim_rand(struct sim *s, uint64_t below)
{
    return below == 0 ? 0 : sim_next(s) % below;
}

bool sim_chance(struct sim *s, unsigned percent)
{
    return sim_rand(s, 100) < percent;
}

/* ---- Trace ---- */

static void sim_line(struct sim *s, const char *text)
{
    if (s->trace != NULL)
        fprintf(s->trace, "%12.6f %s\n", (double)s->now / 1e9, text);
}

void sim_note(struct sim *s, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n >= sizeof(text) ? sizeof(text) - 1 : (size_t)n;
    s->trace_hash = hash64(s->trace_hash ^ s->now, text, len);
    sim_line(s, text);
}

void sim_event(struct sim *s, const char *what, const char *name, uint64_t a, uint64_t b)
{
    uint64_t facts[3] = {s->now, a, b};
    s->trace_hash = hash64(s->trace_hash, facts, sizeof(facts));
    s->trace_hash = hash64(s->trace_hash, what, strlen(what));
    s->trace_hash = hash64(s->trace_hash, name, strlen(name));
    if (s->trace == NULL)
        return;
    char text[512];
    snprintf(text, sizeof(text), "%s %s %llu %llu", what, name, (unsigned long long)a,
             (unsigned long long)b);
    sim_line(s, text);
}

uint64_t sim_trace_hash(const struct sim *s)
{
    return s->trace_hash;
}

/* ---- Events ---- */

static struct event *sim_at(struct sim *s, uint64_t due, enum event_kind kind, void *what)
{
    struct event *ev = mem_new(sizeof(*ev));
    *ev = (struct event){.due = due, .kind = kind, .what = what};
    struct event **at = &s->events;
    while (*at != NULL && (*at)->due <= due)
        at = &(*at)->next;
    ev->next = *at;
    *at = ev;
    return ev;
}

static void sim_cancel(struct sim *s, struct event *ev)
{
    struct event **at = &s->events;
    while (*at != ev)
        at = &(*at)->next;
    *at = ev->next;
    mem_free(ev);
}

static void sim_post(struct runner *r, struct task *t)
{
    struct sim_runner *runner = (struct sim_runner *)r;
    struct sim *s = runner->sim;
    uint64_t due = s->now + sim_rand(s, SIM_DELAY_NS);
    if (due < runner->last_due)
        due = runner->last_due;
    runner->last_due = due;
    sim_at(s, due, EVENT_TASK, t);
}

static struct sim *sim_of(struct world *w)
{
    return (struct sim *)w;
}

static void sim_timer_stop(struct world *w, struct world_timer *t)
{
    if (t->impl != NULL)
        sim_cancel(sim_of(w), t->impl);
    t->impl = NULL;
}

static void sim_timer_start(struct world *w, struct world_timer *t, uint64_t delay_ms)
{
    struct sim *s = sim_of(w);
    sim_timer_stop(w, t);
    uint64_t due = s->now + delay_ms * 1000000 + sim_rand(s, 1000000);
    t->impl = sim_at(s, due, EVENT_TIMER, t);
}

static void sim_offload(struct world *w, struct offload *o)
{
    struct sim *s = sim_of(w);
    uint64_t start = s->now > s->log_thread_free ? s->now : s->log_thread_free;
    s->log_thread_free = start + sim_rand(s, SIM_DELAY_NS * 8);
    sim_at(s, s->log_thread_free, EVENT_WORK, o);
}

static void sim_work(struct sim *s, struct offload *o)
{
    o->work(o);
    uint64_t due = s->now + sim_rand(s, SIM_DELAY_NS * 2);
    if (due < s->own.last_due) /* comes back through the same queue as tasks */
        due = s->own.last_due;
    s->own.last_due = due;
    sim_at(s, due, EVENT_DONE, o);
}

bool sim_step(struct sim *s)
{
    struct event *ev = s->events;
    if (ev == NULL)
        return false;
    s->events = ev->next;
    if (ev->due > s->now)
        s->now = ev->due;
    struct event now = *ev;
    mem_free(ev);
    switch (now.kind) {
    case EVENT_TASK:
        ((struct task *)now.what)->run(now.what);
        break;
    case EVENT_TIMER:
        ((struct world_timer *)now.what)->impl = NULL;
        ((struct world_timer *)now.what)->fire(now.what);
        break;
    case EVENT_WORK:
        sim_work(s, now.what);
        break;
    case EVENT_DONE:
        ((struct offload *)now.what)->done(now.what);
        break;
    }
    return true;
}

void sim_run(struct sim *s, uint64_t ms)
{
    uint64_t until = s->now + ms * 1000000;
    while (s->events != NULL && s->events->due <= until && sim_step(s))
        ;
    if (s->now < until)
        s->now = until;
}

bool sim_run_until(struct sim *s, bool (*done)(void *arg), void *arg, uint64_t ms)
{
    uint64_t until = s->now + ms * 1000000;
    while (!done(arg))
        if (s->events == NULL || s->events->due > until || !sim_step(s))
            return false;
    return true;
}

/* ---- The world ---- */

static int64_t sim_wall_ms(struct world *w)
{
    struct sim *s = sim_of(w);
    return (int64_t)SIM_START_MS * 1000 + (int64_t)(s->now / 1000000) + s->wall_offset_ms;
}

static uint64_t sim_mono_ns(struct world *w)
{
    return sim_of(w)->now;
}

static void sim_random(struct world *w, void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)sim_next(sim_of(w));
}

static void sim_die(struct world *w, const char *why)
{
    struct sim *s = sim_of(w);
    if (s->died_of[0] == '\0')
        snprintf(s->died_of, sizeof(s->died_of), "%s", why);
    sim_freeze(s, why);
}

static void sim_runner_init(struct sim_runner *r, struct sim *s, const char *name)
{
    *r = (struct sim_runner){.base.post = sim_post, .sim = s, .name = name};
}

struct sim *sim_new(uint64_t seed, FILE *trace)
{
    struct sim *s = mem_new(sizeof(*s));
    s->seed = seed;
    s->chance = seed * 0x2545f4914f6cdd1dull + 1;
    s->trace = trace;
    s->now = 1000000000;
    sim_runner_init(&s->own, s, "node");
    sim_runner_init(&s->client, s, "client");
    s->disk = simdisk_new(s);
    s->world = (struct world){
        .wall_ms = sim_wall_ms,
        .mono_ns = sim_mono_ns,
        .random = sim_random,
        .timer_start = sim_timer_start,
        .timer_stop = sim_timer_stop,
        .offload = sim_offload,
        .die = sim_die,
        .disk = simdisk_disk(s->disk),
        .runner = &s->own.base,
    };
    return s;
}

static void sim_drop_events(struct sim *s)
{
    while (s->events != NULL) {
        struct event *ev = s->events;
        s->events = ev->next;
        if (ev->kind == EVENT_TIMER)
            ((struct world_timer *)ev->what)->impl = NULL;
        mem_free(ev);
    }
}

void sim_free(struct sim *s)
{
    if (s == NULL)
        return;
    sim_drop_events(s);
    simdisk_free(s->disk);
    mem_free(s);
}

struct world *sim_world(struct sim *s)
{
    return &s->world;
}

struct simdisk *sim_disk(struct sim *s)
{
    return s->disk;
}

struct runner *sim_client(struct sim *s)
{
    return &s->client.base;
}

uint64_t sim_now_ns(const struct sim *s)
{
    return s->now;
}

void sim_clock_jump(struct sim *s, int64_t ms)
{
    sim_note(s, "wall clock jumps by %lld ms", (long long)ms);
    s->wall_offset_ms += ms;
}

void sim_spend(struct sim *s, uint64_t ns)
{
    s->now += ns;
}

void sim_freeze(struct sim *s, const char *why)
{
    if (s->frozen)
        return;
    sim_note(s, "freeze: %s", why);
    s->frozen = true;
    simdisk_freeze(s->disk);
}

bool sim_is_frozen(const struct sim *s)
{
    return s->frozen;
}

const char *sim_died_of(const struct sim *s)
{
    return s->died_of[0] == '\0' ? NULL : s->died_of;
}

void sim_halt(struct sim *s)
{
    sim_freeze(s, "halt");
    sim_drop_events(s);
}

void sim_crash(struct sim *s, enum sim_crash how)
{
    sim_note(s, how == SIM_KILL ? "killed" : "power cut");
    sim_drop_events(s);
    if (how == SIM_KILL)
        simdisk_kill(s->disk);
    else
        simdisk_power_cut(s->disk);
    s->frozen = false;
    s->died_of[0] = '\0';
    s->log_thread_free = s->now;
    s->own.last_due = s->client.last_due = s->now;
}
