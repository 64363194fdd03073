#include "setting/setting.h"

#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/txn.h"
#include "setting/setting_priv.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

/* The layer in a database of its own; units are applied as the ledger would. */
struct lab {
    char dir[256], path[300];
    struct db *db;
    struct settings *settings;
    uint64_t seq;
    int told;
};

static void lab_told(void *arg)
{
    ((struct lab *)arg)->told++;
}

static void lab_open(struct lab *l)
{
    struct err e = ERR_INIT;
    memset(l, 0, sizeof *l);
    kit_dir(l->dir);
    snprintf(l->path, sizeof l->path, "%s/koan.db", l->dir);
    struct db_options o = {.path = l->path, .mode = DB_WRITER};
    if (db_open(&o, &l->db, &e) != 0 || db_migrate(l->db, &e) != 0)
        fail_msg("%s", e.text);
    l->settings = settings_new();
    settings_watch(l->settings, lab_told, l);
}

static void lab_close(struct lab *l)
{
    settings_free(l->settings);
    db_close(l->db);
    kit_dir_remove(l->dir);
}

static int lab_apply(struct lab *l, const void *p, size_t n, struct buf *result, struct err *e)
{
    const struct domain *d = settings_domain(l->settings);
    struct envelope env = {.tenant = "default", .principal = "ana", .reason = "because"};
    struct apply a = {.db = l->db, .seq = ++l->seq, .at = 1700000000000, .env = &env};
    struct cursor c;
    cursor_init(&c, p, n);
    assert_int_equal(db_begin(l->db, e), 0);
    int rc = d->ops[0].apply(d->self, &a, 1, &c, result, e);
    if (rc == 0)
        assert_int_equal(db_commit(l->db, e), 0);
    else
        db_rollback(l->db);
    d->committed(d->self, l->seq, a.at);
    return rc;
}

/* The revision after it, and how many names were changed. */
static int lab_change(struct lab *l, uint64_t revision, const char *text, uint64_t *now,
                      uint32_t *changed, struct err *e)
{
    struct txn t;
    struct txn_view v;
    struct txn_op op;
    struct buf bytes = BUF_INIT(8 << 20), result = BUF_INIT(1000);
    json_t *changes = json_loads(text, 0, NULL);
    assert_non_null(changes);
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.principal = "ana"});
    int rc = setting_txn_change(&t, revision, changes, e);
    json_decref(changes);
    if (rc == 0) {
        txn_encode(&t, &bytes);
        assert_int_equal(txn_decode(bytes.data, bytes.len, &v, e), 0);
        struct cursor ops = txn_ops(&v), r;
        assert_true(txn_next(&ops, &op));
        assert_int_equal(op.type, SETTING_OP_CHANGE);
        size_t n = cursor_left(&op.payload);
        rc = lab_apply(l, cursor_raw(&op.payload, n), n, &result, e);
        cursor_init(&r, result.data, result.len);
        if (rc == 0)
            assert_int_equal(setting_result(&r, now, changed, e), 0);
        txn_view_fini(&v);
    }
    txn_fini(&t);
    buf_fini(&bytes);
    buf_fini(&result);
    return rc;
}

static void lab_is(struct lab *l, uint64_t revision, const char *want)
{
    struct err e = ERR_INIT;
    struct setting_layer layer;
    if (setting_read(l->db, &layer, &e) != 0)
        fail_msg("%s", e.text);
    json_t *values = json_object(), *row;
    const char *name;
    json_object_foreach(layer.rows, name, row)
    {
        json_object_set(values, name, json_object_get(row, "value"));
    }
    char *text = json_dumps(values, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, want);
    assert_int_equal(layer.revision, revision);
    mem_free(text);
    json_decref(values);
    json_decref(layer.rows);
}

TEST(a_change_sets_and_unsets_under_one_revision)
{
    struct err e = ERR_INIT;
    struct lab l;
    uint64_t now;
    uint32_t changed;
    lab_open(&l);
    lab_is(&l, 0, "{}");
    assert_int_equal(lab_change(&l, 0, "{\"log.level\":\"debug\",\"app.rate\":{\"b\":1,\"a\":2}}",
                                &now, &changed, &e),
                     0);
    assert_int_equal(now, 1);
    assert_int_equal(changed, 2);
    assert_int_equal(
        lab_change(&l, SETTING_ANY, "{\"log.level\":null,\"flags.x\":true}", &now, &changed, &e),
        0);
    assert_int_equal(now, 2);
    lab_is(&l, 2, "{\"app.rate\":{\"a\":2,\"b\":1},\"flags.x\":true}");
    assert_int_equal(l.told, 2);
    struct setting_layer layer;
    assert_int_equal(setting_read(l.db, &layer, &e), 0);
    json_t *row = json_object_get(layer.rows, "app.rate");
    assert_int_equal(json_integer_value(json_object_get(row, "revision")), 1);
    assert_string_equal(json_string_value(json_object_get(row, "by")), "ana");
    assert_string_equal(json_string_value(json_object_get(row, "reason")), "because");
    assert_string_equal(json_string_value(json_object_get(row, "at")), "2023-11-14T22:13:20.000Z");
    json_decref(layer.rows);
    lab_close(&l);
}

TEST(repeating_a_change_changes_nothing)
{
    struct err e = ERR_INIT;
    struct lab l;
    uint64_t now;
    uint32_t changed;
    json_t *history;
    lab_open(&l);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lab_change(&l, SETTING_ANY, "{\"app.a\":{\"y\":1,\"x\":2},\"app.b\":null}",
                                    &now, &changed, &e),
                         0);
    assert_int_equal(now, 1);
    assert_int_equal(changed, 0);
    assert_int_equal(
        lab_change(&l, SETTING_ANY, "{\"app.a\":{\"x\":2,\"y\":1}}", &now, &changed, &e), 0);
    assert_int_equal(changed, 0);
    assert_int_equal(l.told, 1);
    assert_int_equal(setting_history(l.db, &history, &e), 0);
    assert_int_equal(json_array_size(history), 1);
    json_decref(history);
    lab_close(&l);
}

TEST(a_change_worked_out_from_another_revision_is_refused_whole)
{
    struct err e = ERR_INIT;
    struct lab l;
    uint64_t now;
    uint32_t changed;
    lab_open(&l);
    assert_int_equal(lab_change(&l, 0, "{\"app.a\":1}", &now, &changed, &e), 0);
    assert_refused(lab_change(&l, 0, "{\"app.a\":2,\"app.b\":2}", &now, &changed, &e),
                   ERR_VERSION_MISMATCH, "revision 1, not 0");
    lab_is(&l, 1, "{\"app.a\":1}");
    assert_int_equal(lab_change(&l, 1, "{\"app.a\":2}", &now, &changed, &e), 0);
    lab_is(&l, 2, "{\"app.a\":2}");
    lab_close(&l);
}

TEST(the_layer_has_limits_and_keeps_what_it_had)
{
    struct err e = ERR_INIT;
    struct lab l;
    uint64_t now;
    uint32_t changed;
    lab_open(&l);
    char *big = mem_try(SETTING_VALUE_BYTES + 100);
    memset(big, 'x', SETTING_VALUE_BYTES + 99);
    big[SETTING_VALUE_BYTES + 99] = '\0';
    char *text = mem_printf("{\"app.big\":\"%s\"}", big);
    assert_refused(lab_change(&l, 0, text, &now, &changed, &e), ERR_TOO_LARGE, "app.big");
    mem_free(text);
    big[SETTING_VALUE_BYTES - 100] = '\0';
    int i = 0, rc = 0;
    for (; rc == 0 && i < 100; i++) {
        text = mem_printf("{\"app.n%d\":\"%s\"}", i, big);
        rc = lab_change(&l, SETTING_ANY, text, &now, &changed, &e);
        mem_free(text);
    }
    assert_int_equal(rc, ERR_TOO_LARGE);
    assert_int_equal(i, 17); /* the seventeenth is over 1 MiB */
    assert_int_equal(now, 16);
    assert_refused(lab_change(&l, 0, "{\"\":1}", &now, &changed, &e), ERR_INVALID, "1 to 200");
    mem_free(big);
    lab_close(&l);
}

TEST(the_history_is_bounded)
{
    struct err e = ERR_INIT;
    struct lab l;
    uint64_t now;
    uint32_t changed;
    json_t *history;
    lab_open(&l);
    for (int i = 0; i < SETTING_HISTORY_KEPT / 100 + 2; i++) {
        struct buf b = BUF_INIT(1 << 20);
        buf_addc(&b, '{');
        for (int k = 0; k < 100; k++)
            buf_addf(&b, "%s\"app.k%d\":%d", k > 0 ? "," : "", k, i);
        buf_addc(&b, '}');
        assert_int_equal(lab_change(&l, SETTING_ANY, buf_str(&b), &now, &changed, &e), 0);
        buf_fini(&b);
    }
    assert_int_equal(setting_history(l.db, &history, &e), 0);
    assert_int_equal(json_array_size(history), SETTING_HISTORY_KEPT);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(history, 0), "revision")),
                     now);
    json_decref(history);
    lab_close(&l);
}

TEST(malformed_payloads_are_refused_by_every_node_alike)
{
    struct err e = ERR_INIT;
    struct lab l;
    struct buf good = BUF_INIT(1000), result = BUF_INIT(1000);
    lab_open(&l);
    buf_add_u64(&good, SETTING_ANY);
    buf_add_u32(&good, 2);
    buf_add_text(&good, "app.a");
    buf_add_u8(&good, 1);
    buf_add_text(&good, "[1]");
    buf_add_text(&good, "app.b");
    buf_add_u8(&good, 0);
    for (size_t n = 0; n < good.len; n++)
        assert_int_equal(lab_apply(&l, good.data, n, &result, &e), ERR_INVALID);
    static const struct {
        size_t at;
        char byte;
    } wrong[] = {{8, 1}, {8, 3}, {16, '\0'}, {17, '\xff'}, {21, 2}, {21, 0}, {26, '{'}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char keep = good.data[wrong[i].at];
        good.data[wrong[i].at] = wrong[i].byte;
        assert_int_equal(lab_apply(&l, good.data, good.len, &result, &e), ERR_INVALID);
        good.data[wrong[i].at] = keep;
    }
    lab_is(&l, 0, "{}");
    assert_int_equal(lab_apply(&l, good.data, good.len, &result, &e), 0);
    lab_is(&l, 1, "{\"app.a\":[1]}");
    buf_fini(&good);
    buf_fini(&result);
    lab_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_change_sets_and_unsets_under_one_revision),
        HEAP_TEST(repeating_a_change_changes_nothing),
        HEAP_TEST(a_change_worked_out_from_another_revision_is_refused_whole),
        HEAP_TEST(the_layer_has_limits_and_keeps_what_it_had),
        HEAP_TEST(the_history_is_bounded),
        HEAP_TEST(malformed_payloads_are_refused_by_every_node_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
