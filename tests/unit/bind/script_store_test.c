#include "bind/script_store.h"

#include "house.h"

static struct house house;

static int open_house(void **state)
{
    (void)state;
    house_open(&house, 1);
    return 0;
}

static int close_house(void **state)
{
    (void)state;
    house_close(&house);
    return 0;
}

static int deploy_as(const char *name, const char *text, struct err *e)
{
    struct deploying d = {.file = {"app.lua", text, strlen(text)}};
    d.d.files = &d.file;
    d.d.count = 1;
    d.d.record = name;
    d.d.principal = "ana";
    d.d.home = loop_runner(house.home);
    d.d.done = house_deployed;
    bind_deploy(house.bind, &d.d);
    while (!d.done)
        house_turn(&house);
    *e = d.d.err;
    bind_deploy_fini(&d.d);
    return e->code;
}

static struct db *reader(void)
{
    return house.bind->threads[0].pool_reader;
}

static const char app[] = "entity 'A' { fields = { n = int } } -- %d";

TEST(a_deploy_is_one_unit_and_is_found_again)
{
    struct err e = ERR_INIT;
    struct script_live live = {.files = NULL};
    assert_refused(script_live(reader(), &live, &e), ERR_NOT_FOUND, "yet");
    assert_int_equal(deploy_as("first", "entity 'A' { fields = { n = int } }", &e), 0);
    assert_int_equal(script_live(reader(), &live, &e), 0);
    assert_string_equal(live.name, "first");
    assert_string_equal(json_string_value(json_object_get(live.files, "app.lua")),
                        "entity 'A' { fields = { n = int } }");
    char first[17];
    memcpy(first, live.hash, sizeof first);
    json_decref(live.files);
    assert_int_equal(deploy_as("second", "entity 'A' { fields = { n = int, m = int } }", &e), 0);
    assert_int_equal(script_find(reader(), "", &live, &e), 0);
    assert_string_equal(live.hash, first);
    json_decref(live.files);
    assert_int_equal(script_find(reader(), "second", &live, &e), 0);
    assert_string_not_equal(live.hash, first);
    json_decref(live.files);
    first[5] = '\0';
    assert_int_equal(script_find(reader(), first, &live, &e), 0);
    assert_string_equal(live.name, "first");
    json_decref(live.files);
    assert_refused(script_find(reader(), "fir", &live, &e), ERR_NOT_FOUND, "fir");
}

TEST(a_set_that_does_not_load_is_not_kept)
{
    struct err e = ERR_INIT;
    assert_int_equal(deploy_as("bad", "entity 'A' { fields = { n = intt } }", &e), ERR_INVALID);
    assert_int_equal(deploy_as("no good", "-- x", &e), ERR_INVALID);
    json_t *history = NULL;
    assert_int_equal(script_history(reader(), &history, &e), 0);
    assert_int_equal(json_array_size(history), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(history, 0), "by")),
                        "ana");
    json_decref(history);
}

TEST(the_last_fifty_are_kept)
{
    struct err e = ERR_INIT;
    char text[200];
    for (int i = 0; i < SCRIPT_SETS_KEPT + 5; i++) {
        snprintf(text, sizeof text, app, i);
        assert_int_equal(deploy_as("many", text, &e), 0);
    }
    json_t *history = NULL;
    struct script_live live = {.files = NULL};
    assert_int_equal(script_history(reader(), &history, &e), 0);
    assert_int_equal(json_array_size(history), SCRIPT_SETS_KEPT);
    json_decref(history);
    assert_refused(script_find(reader(), "first", &live, &e), ERR_NOT_FOUND, "first");
}

/* ---- payloads from elsewhere ---- */

struct proposal {
    struct unit unit; /* first */
    bool done;
};

static void proposed(struct unit *u)
{
    ((struct proposal *)u)->done = true;
}

static int propose(const void *p, size_t n)
{
    struct proposal x = {.done = false};
    struct err e = ERR_INIT;
    unit_init(&x.unit, loop_runner(house.home), proposed);
    buf_add(txn_begin(&x.unit.txn, 0x0800, 1), p, n);
    txn_end(&x.unit.txn);
    assert_int_equal(ledger_propose(house.ledger, &x.unit, &e), 0);
    while (!x.done)
        house_turn(&house);
    int code = x.unit.err.code;
    unit_fini(&x.unit);
    return code;
}

TEST(malformed_payloads_are_refused_by_every_node_alike)
{
    struct buf good = BUF_INIT(1000);
    buf_add_text(&good, "0123456789abcdef");
    buf_add_text(&good, "by-hand");
    buf_add_u8(&good, 0);
    buf_add_text(&good, "{}");
    for (size_t n = 0; n < good.len; n++)
        assert_int_equal(propose(good.data, n), ERR_INVALID);
    assert_int_equal(propose(good.data, good.len), 0);
    buf_addc(&good, 0);
    assert_int_equal(propose(good.data, good.len), ERR_INVALID);
    good.data[4] = 'x'; /* of the hash */
    assert_int_equal(propose(good.data, good.len - 1), ERR_INVALID);
    buf_fini(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deploy_is_one_unit_and_is_found_again),
        cmocka_unit_test(a_set_that_does_not_load_is_not_kept),
        cmocka_unit_test(the_last_fifty_are_kept),
        cmocka_unit_test(malformed_payloads_are_refused_by_every_node_alike),
    };
    return cmocka_run_group_tests(tests, open_house, close_house);
}
