/* Routes are taken by many threads while deploys change them. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "support/bus_node.h"
#include "support/unit.h"

enum { THREADS = 3, DEPLOYS = 60 };

struct reader {
    pthread_t thread;
    struct bus *bus;
    atomic_bool *over;
    uint64_t seen; /* revisions, which only rise */
    size_t routes, wrong;
};

/* Group "even" listens at even revisions, "odd" at odd ones, "both" always. */
static void *reader_run(void *arg)
{
    struct reader *r = arg;
    while (!atomic_load(r->over)) {
        struct bus_route *route = NULL;
        if (bus_route(r->bus, "default", "t.x", &route, NULL) != 0) {
            r->wrong++;
            break;
        }
        uint64_t revision = bus_route_revision(route);
        size_t count = bus_route_count(route);
        if (revision > 1) {
            const char *last = count == 2 ? bus_route_group(route, 1) : "";
            r->wrong += count != 2 || revision < r->seen ||
                        strcmp(bus_route_group(route, 0), "both") != 0 ||
                        strcmp(last, revision % 2 == 0 ? "even" : "odd") != 0;
        }
        r->seen = revision;
        r->routes++;
        AUTO(json_unref) json_t *shown = bus_show(r->bus, "default");
        r->wrong += !bus_is_stale(r->bus, route) && bus_revision(r->bus) < revision;
        bus_route_free(route);
    }
    return NULL;
}

TEST(each_route_is_that_of_one_revision_whatever_is_deployed_meanwhile) /* B1 */
{
    struct bus_node f;
    struct reader readers[THREADS];
    atomic_bool over;
    bus_node_begin(&f);
    bus_node_up(&f);
    atomic_init(&over, false);
    assert_int_equal(BUS_NODE_GROUPS(&f, "both t.*"), 0);
    for (int i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){.bus = f.bus, .over = &over};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
    }
    for (int i = 0; i < DEPLOYS; i++) {
        bool even = (bus_revision(f.bus) + 1) % 2 == 0;
        assert_int_equal(even ? BUS_NODE_GROUPS(&f, "both t.*", "even t.#")
                              : BUS_NODE_GROUPS(&f, "both t.*", "odd #"),
                         0);
    }
    atomic_store(&over, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].wrong, 0);
        assert_true(readers[i].routes > 0);
    }
    bus_node_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(each_route_is_that_of_one_revision_whatever_is_deployed_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
