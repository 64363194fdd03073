#include "entity/write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "db/db.h"
#include "entity/read.h"
#include "io/loop.h"
#include "support/ledger_kit.h"

static const char plain[] = "{\"name\":\"Plain\",\"fields\":{\"n\":{\"kind\":\"int\"},"
                            "\"code\":{\"kind\":\"text\",\"unique\":true}}}";
static const char hooked[] =
    "{\"name\":\"Hooked\",\"fields\":{\"n\":{\"kind\":\"int\"},\"seen\":{\"kind\":\"int\"}},"
    "\"hooks\":[\"before_save\",\"before_remove\"]}";

/* A node, a hook that does what its test says, and a write that is waited for. */
struct fixture {
    char dir[256];
    struct loop *loop;
    struct ledger *ledger;
    struct entities *entities;
    struct db *reader;
    struct entity_def *plain, *hooked;
    struct entity_hooks hooks;
    struct entity_ids ids;
    struct uuid_gen gen;
    struct entity_write w;
    struct entity_item items[4];
    int done, hook_calls, interfere;
    int leaves_from; /* the hook leaves the record as it is from this call on; 0: it never does */
    int hook_code;
    bool in_start;
    struct entity_write other;
    struct entity_item other_item;
    struct entity_hook_call *pending;
};

static struct fixture *fx;

static void turn(void)
{
    loop_poll(fx->loop);
    usleep(100);
}

static void make_id(struct entity_ids *ids, struct uuid *out)
{
    (void)ids;
    uuid_v7(&fx->gen, 1700000000000, (const uint8_t[8]){1, 2, 3, 4, 5, 6, 7, 8}, out);
}

static void done(struct entity_write *w)
{
    (void)w;
    assert_false(fx->in_start);
    fx->done++;
}

static void other_done(struct entity_write *w)
{
    assert_int_equal(w->err.code, 0);
    entity_write_fini(w);
    entity_item_fini(&fx->other_item);
    struct entity_hook_call *c = TAKE(fx->pending);
    c->home->post(c->home, &c->task);
}

/* Change the record behind the back of the write whose hook is running. */
static void change_meanwhile(struct entity_hook_call *c)
{
    fx->pending = c;
    fx->other_item = (struct entity_item){.verb = ENTITY_PATCH, .def = fx->plain};
    struct entity_def *raw = NULL; /* the same table without its hooks */
    assert_int_equal(entity_def_parse_text(hooked, strlen(hooked), &raw, NULL), 0);
    raw->before_save = raw->before_remove = false;
    fx->other_item.def = raw;
    snprintf(fx->other_item.id, sizeof(fx->other_item.id), "%s", c->id);
    fx->other_item.doc = json_pack("{s:i}", "n", 1000 + fx->interfere);
    fx->other = fx->w;
    fx->other.impl = NULL;
    fx->other.items = &fx->other_item;
    fx->other.count = 1;
    fx->other.atomic = true;
    fx->other.done = other_done;
    assert_int_equal(entity_write_start(&fx->other, NULL), 0);
    entity_def_unref(raw);
}

static int run_hook(struct entity_hooks *h, struct entity_hook_call *c, struct err *e)
{
    (void)h;
    (void)e;
    fx->hook_calls++;
    if (fx->hook_code != 0)
        err_set(&c->err, fx->hook_code, "the hook said no");
    else if (c->event == ENTITY_BEFORE_SAVE &&
             (fx->leaves_from == 0 || fx->hook_calls < fx->leaves_from))
        json_object_set_new(c->record, "seen",
                            json_integer(c->prior == NULL
                                             ? -1
                                             : json_integer_value(json_object_get(c->prior, "n"))));
    if (fx->interfere > 0) {
        fx->interfere--;
        change_meanwhile(c);
        return 0;
    }
    c->home->post(c->home, &c->task);
    return 0;
}

static void define(const char *json, const char *name, struct entity_def **out)
{
    struct unit u;
    struct entity_def *d;
    struct err e = ERR_INIT;
    assert_int_equal(entity_def_parse_text(json, strlen(json), &d, NULL), 0);
    unit_init(&u, loop_runner(fx->loop), NULL);
    struct kit_node n = {.loop = fx->loop, .ledger = fx->ledger};
    kit_unit(&n, &u);
    txn_envelope(&u.txn, &(struct envelope){.tenant = "default"});
    entity_txn_define(&u.txn, d);
    if (kit_do(&n, &u) != 0)
        fail_msg("%s", u.err.text);
    (void)e;
    unit_fini(&u);
    entity_def_unref(d);
    *out = entities_find(fx->entities, name);
    assert_non_null(*out);
}

static int setup(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    fx = mem_new(sizeof(*fx));
    kit_dir(fx->dir);
    assert_int_equal(loop_new("write", &fx->loop, NULL), 0);
    fx->entities = entities_new();
    struct ledger_options o = {.dir = fx->dir, .segment_bytes = 1 << 20};
    if (ledger_open(&o, loop_world(fx->loop), entities_domain(fx->entities), 1, &fx->ledger, &e) !=
        0)
        fail_msg("%s", e.text);
    struct kit_node n = {.ledger = fx->ledger};
    fx->reader = kit_reader(&n);
    define(plain, "Plain", &fx->plain);
    define(hooked, "Hooked", &fx->hooked);
    fx->hooks.run = run_hook;
    fx->ids.make = make_id;
    fx->w = (struct entity_write){.ledger = fx->ledger,
                                  .reader = fx->reader,
                                  .hooks = &fx->hooks,
                                  .ids = &fx->ids,
                                  .home = loop_runner(fx->loop),
                                  .env = {.tenant = "default", .principal = "ana"},
                                  .items = fx->items,
                                  .count = 1,
                                  .atomic = true,
                                  .done = done};
    return 0;
}

static void closed(void *arg)
{
    *(struct ledger **)arg = NULL;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fx->items); i++)
        entity_item_fini(&fx->items[i]);
    entity_def_unref(fx->plain);
    entity_def_unref(fx->hooked);
    db_close(fx->reader);
    ledger_close(fx->ledger, closed, &fx->ledger);
    while (fx->ledger != NULL)
        turn();
    while (loop_poll(fx->loop))
        usleep(100);
    loop_free(fx->loop);
    entities_free(fx->entities);
    kit_dir_remove(fx->dir);
    mem_free(fx);
    return 0;
}

static struct entity_item *item(size_t i, enum entity_verb verb, const struct entity_def *d,
                                const char *id, json_t *doc)
{
    struct entity_item *it = &fx->items[i];
    entity_item_fini(it);
    *it = (struct entity_item){.verb = verb, .def = d, .doc = doc};
    snprintf(it->id, sizeof(it->id), "%s", id);
    return it;
}

/* Starts the write and waits for it; the code of the start, or of the unit. */
static int run(struct err *e)
{
    fx->done = 0;
    fx->in_start = true;
    int rc = entity_write_start(&fx->w, e);
    fx->in_start = false;
    if (rc == 0) {
        while (fx->done == 0)
            turn();
        for (int i = 0; i < 5; i++)
            turn();
        assert_int_equal(fx->done, 1);
        rc = fx->w.err.code;
        if (e != NULL)
            *e = fx->w.err;
    }
    entity_write_fini(&fx->w);
    return rc;
}

static int64_t value(const struct entity_def *d, const char *id, const char *field)
{
    json_t *r = NULL;
    if (entity_get_json(fx->reader, d, "default", id, &r, NULL, NULL) != 0)
        return -404;
    int64_t v = json_integer_value(json_object_get(r, field));
    json_decref(r);
    return v;
}

static void a_save_without_an_id_gets_one(void **state)
{
    (void)state;
    struct entity_item *it = item(0, ENTITY_SAVE, fx->plain, "", json_pack("{s:i}", "n", 5));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(strlen(it->id), 36);
    assert_int_equal(it->result.outcome, ENTITY_CREATED);
    assert_int_equal(value(fx->plain, it->id, "n"), 5);
    assert_true(fx->w.seq > 0);
}

static void ids_of_document_and_address_must_agree(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    item(0, ENTITY_SAVE, fx->plain, "a", json_pack("{s:s,s:i}", "id", "b", "n", 1));
    assert_int_equal(run(&e), ERR_INVALID);
    assert_string_equal(e.field, "id");
    struct entity_item *it =
        item(0, ENTITY_SAVE, fx->plain, "", json_pack("{s:s,s:i}", "id", "b", "version", 9));
    assert_int_equal(run(&e), 0);
    assert_string_equal(it->id, "b");
    item(0, ENTITY_SAVE, fx->plain, "x/y", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(&e), ERR_INVALID);
}

static void faults_are_listed_before_anything_is_proposed(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct entity_item *it =
        item(0, ENTITY_SAVE, fx->plain, "a", json_pack("{s:s,s:i}", "n", "x", "m", 1));
    assert_int_equal(run(&e), ERR_INVALID);
    assert_int_equal(fx->done, 0);
    assert_int_equal(json_array_size(it->errors), 2);
    assert_int_equal(value(fx->plain, "a", "n"), -404);
}

static void an_atomic_list_is_all_or_nothing(void **state)
{
    (void)state;
    fx->w.count = 3;
    item(0, ENTITY_SAVE, fx->plain, "a", json_pack("{s:i,s:s}", "n", 1, "code", "x"));
    item(1, ENTITY_SAVE, fx->plain, "b", json_pack("{s:i,s:s}", "n", 2, "code", "x"));
    item(2, ENTITY_REMOVE, fx->plain, "a", NULL);
    assert_int_equal(run(NULL), ERR_CONFLICT);
    assert_int_equal(fx->items[0].err.code, ERR_CANCELED);
    assert_int_equal(fx->items[1].err.code, ERR_CONFLICT);
    assert_string_equal(fx->items[1].err.field, "code");
    assert_int_equal(fx->w.failed, 3);
    assert_int_equal(value(fx->plain, "a", "n"), -404);
    json_object_set_new(fx->items[1].doc, "code", json_string("y"));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(fx->items[2].result.outcome, ENTITY_REMOVED);
    assert_int_equal(value(fx->plain, "a", "n"), -404);
    assert_int_equal(value(fx->plain, "b", "n"), 2);
}

static void a_list_of_units_has_an_outcome_each(void **state)
{
    (void)state;
    fx->w.count = 3;
    fx->w.atomic = false;
    item(0, ENTITY_SAVE, fx->plain, "a", json_pack("{s:i}", "n", 1));
    item(1, ENTITY_SAVE, fx->plain, "b", json_pack("{s:s}", "n", "wrong"));
    item(2, ENTITY_REMOVE, fx->plain, "c", NULL);
    assert_int_equal(run(NULL), 0);
    assert_int_equal(fx->w.failed, 2);
    assert_int_equal(fx->items[0].err.code, 0);
    assert_int_equal(fx->items[1].err.code, ERR_INVALID);
    assert_int_equal(fx->items[2].err.code, ERR_NOT_FOUND);
    assert_int_equal(value(fx->plain, "a", "n"), 1);
    /* All wrong at once still answers, and later. */
    fx->w.count = 1;
    item(0, ENTITY_SAVE, fx->plain, "b", json_pack("{s:s}", "n", "wrong"));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(fx->w.failed, 1);
    fx->w.count = 0;
    assert_int_equal(run(NULL), 0);
}

static void match_conditions_answer_with_a_version_mismatch(void **state)
{
    (void)state;
    struct entity_item *it = item(0, ENTITY_SAVE, fx->plain, "a", json_pack("{s:i}", "n", 1));
    it->if_exists = true;
    assert_int_equal(run(NULL), ERR_VERSION_MISMATCH);
    it->if_exists = false;
    it->if_absent = true;
    assert_int_equal(run(NULL), 0);
    assert_int_equal(run(NULL), ERR_VERSION_MISMATCH);
    assert_int_equal(it->err.code, ERR_VERSION_MISMATCH);
    it->if_absent = false;
    it->if_version = 1;
    json_object_set_new(it->doc, "n", json_integer(2));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(it->result.version, 2);
    assert_int_equal(run(NULL), ERR_VERSION_MISMATCH);
}

static void a_hook_sees_the_prior_record_and_changes_the_new_one(void **state)
{
    (void)state;
    item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(value(fx->hooked, "a", "seen"), -1);
    item(0, ENTITY_PATCH, fx->hooked, "a", json_pack("{s:i}", "n", 2));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(value(fx->hooked, "a", "seen"), 1);
    assert_int_equal(value(fx->hooked, "a", "n"), 2);
    item(0, ENTITY_REMOVE, fx->hooked, "a", NULL);
    assert_int_equal(run(NULL), 0);
    assert_int_equal(fx->hook_calls, 3);
    assert_int_equal(value(fx->hooked, "a", "n"), -404);
}

static void a_hook_can_refuse(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    fx->hook_code = ERR_REJECTED;
    item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(&e), ERR_REJECTED);
    assert_non_null(strstr(e.text, "said no"));
    assert_int_equal(value(fx->hooked, "a", "n"), -404);
    fx->w.hooks = NULL;
    assert_int_equal(run(&e), ERR_UNAVAILABLE);
}

static void a_hook_runs_again_when_the_row_changed_meanwhile(void **state)
{
    (void)state;
    item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(NULL), 0);
    fx->hook_calls = 0;
    fx->interfere = 2;
    item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 2));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(fx->hook_calls, 3);
    assert_int_equal(value(fx->hooked, "a", "seen"), 1000);
    assert_int_equal(value(fx->hooked, "a", "n"), 2);
    fx->interfere = 100;
    fx->hook_calls = 0;
    assert_int_equal(run(NULL), ERR_CONFLICT);
    assert_int_equal(fx->hook_calls, ENTITY_HOOK_TRIES);
    fx->interfere = 0;
}

static void a_hook_that_leaves_the_record_saves_what_was_sent(void **state)
{
    (void)state;
    fx->leaves_from = 1;
    item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(value(fx->hooked, "a", "n"), 1);
    assert_int_equal(value(fx->hooked, "a", "seen"), 0);
    /* Nothing stays of a try that had changed it. */
    fx->hook_calls = 0;
    fx->leaves_from = 2;
    fx->interfere = 1;
    item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 2));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(fx->hook_calls, 2);
    assert_int_equal(value(fx->hooked, "a", "n"), 2);
    assert_int_equal(value(fx->hooked, "a", "seen"), 0);
}

static void a_version_that_the_caller_wants_is_not_tried_again(void **state)
{
    (void)state;
    item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(NULL), 0);
    struct entity_item *it = item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 2));
    it->if_version = 1;
    fx->interfere = 1;
    assert_int_equal(run(NULL), ERR_VERSION_MISMATCH);
    it = item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 2));
    it->mode = ENTITY_CREATE;
    assert_int_equal(run(NULL), ERR_CONFLICT);
    it = item(0, ENTITY_PATCH, fx->hooked, "nobody", json_pack("{s:i}", "n", 2));
    assert_int_equal(run(NULL), ERR_NOT_FOUND);
}

static int compose(struct entity_write *w, struct txn *t, bool before, struct err *e)
{
    (void)w;
    (void)e;
    if (before)
        entity_txn_if_exists(t, fx->plain, "gate");
    else
        entity_txn_remove(t, fx->plain, "gate", 0);
    return 0;
}

static void others_may_add_to_the_unit(void **state)
{
    (void)state;
    fx->w.compose = compose;
    item(0, ENTITY_SAVE, fx->plain, "a", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(NULL), ERR_VERSION_MISMATCH);
    fx->w.compose = NULL;
    item(0, ENTITY_SAVE, fx->plain, "gate", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(NULL), 0);
    fx->w.compose = compose;
    item(0, ENTITY_SAVE, fx->plain, "a", json_pack("{s:i}", "n", 1));
    assert_int_equal(run(NULL), 0);
    assert_int_equal(fx->items[0].result.outcome, ENTITY_CREATED);
    assert_int_equal(value(fx->plain, "gate", "n"), -404);
}

static void a_repeated_unit_has_one_effect(void **state)
{
    (void)state;
    fx->w.unit_id.b[0] = 7;
    struct entity_item *it = item(0, ENTITY_SAVE, fx->plain, "a", json_pack("{s:i}", "n", 1));
    it->mode = ENTITY_CREATE;
    assert_int_equal(run(NULL), 0);
    it->result.version = 0;
    assert_int_equal(run(NULL), 0);
    assert_int_equal(it->result.outcome, ENTITY_CREATED);
    assert_int_equal(it->result.version, 1);
}

static void two_changes_of_one_hooked_record_in_a_unit_are_refused(void **state)
{
    (void)state;
    fx->w.count = 2;
    item(0, ENTITY_SAVE, fx->hooked, "a", json_pack("{s:i}", "n", 1));
    item(1, ENTITY_PATCH, fx->hooked, "a", json_pack("{s:i}", "n", 2));
    assert_int_equal(run(NULL), ERR_INVALID);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_save_without_an_id_gets_one),
        CASE(ids_of_document_and_address_must_agree),
        CASE(faults_are_listed_before_anything_is_proposed),
        CASE(an_atomic_list_is_all_or_nothing),
        CASE(a_list_of_units_has_an_outcome_each),
        CASE(match_conditions_answer_with_a_version_mismatch),
        CASE(a_hook_sees_the_prior_record_and_changes_the_new_one),
        CASE(a_hook_can_refuse),
        CASE(a_hook_runs_again_when_the_row_changed_meanwhile),
        CASE(a_hook_that_leaves_the_record_saves_what_was_sent),
        CASE(a_version_that_the_caller_wants_is_not_tried_again),
        CASE(others_may_add_to_the_unit),
        CASE(a_repeated_unit_has_one_effect),
        CASE(two_changes_of_one_hooked_record_in_a_unit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
