#include "api/api_priv.h"
#include "bind/route_priv.h"
#include "house.h"

static void refuses(const char *text, const char *words)
{
    struct house h;
    house_open(&h, 1);
    struct err e = ERR_INIT;
    int rc = house_deploy(&h, text, &e);
    house_close(&h);
    assert_refused(rc, ERR_INVALID, words); /* whatever it was: the set is no valid one */
}

#define ROUTE(name) "route \"" name "\" { run = function() end }\n"

TEST(a_wrong_route_names_file_and_line)
{
    refuses("\n" ROUTE("get /x"), "app.lua:2: route 'get /x': a route is named like");
    refuses(ROUTE("GET"), "the path begins with /");
    refuses(ROUTE("GET x"), "the path begins with /");
    refuses(ROUTE("HEAD /x"), "GET answers HEAD too");
    refuses(ROUTE("GET /x//y"), "a path is made of letters");
    refuses(ROUTE("GET /x/../y"), "a path is made of letters");
    refuses(ROUTE("GET /x y"), "a path is made of letters");
    refuses(ROUTE("GET /x/a{b}"), "whole segments like {name}");
    refuses(ROUTE("GET /x/{}"), "a parameter is {name}");
    refuses(ROUTE("GET /x/{1a}"), "a parameter is {name}");
    refuses(ROUTE("GET /x/{a...}/b"), "stands last");
    refuses(ROUTE("GET /x/{a}/{a}"), "two parameters have the same name");
    refuses(ROUTE("GET /x/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}"), "8 parameters");
    refuses("route \"GET /x\" {}", "run = function(req, ctx) .. end is missing");
    refuses("route \"GET /x\" { run = 1 }", "run = function(req, ctx) .. end is missing");
    refuses("route \"GET /x\"(1)", "wants a table with run");
    refuses("route { run = 1 }", "app.lua:1: route wants a name");
    refuses("route \"GET /x\" { acess = \"public\", run = function() end }",
            "'acess'; did you mean 'access'");
    refuses("route \"GET /x\" { access = \"all\", run = function() end }", "not 'all'");
    refuses("route \"GET /x\" { timeout = \"6m\", run = function() end }",
            "from 1 ms to 5 minutes");
    refuses("route \"GET /x\" { body_max = \"11MiB\", run = function() end }",
            "from 1 byte to 10 MiB");
}

TEST(two_routes_do_not_stand_in_each_others_way)
{
    refuses(ROUTE("GET /x") ROUTE("GET /x"), "app.lua:2: route 'GET /x': another route");
    refuses(ROUTE("GET /x/{a}") ROUTE("POST /x/{b}"), "other names of parameters");
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, ROUTE("GET /x") ROUTE("POST /x") ROUTE("GET /x/") ROUTE("GET /x/{a}")
                                ROUTE("GET /x/{a...}") ROUTE("GET /x/b"));
    json_t *s = bind_status(h.bind);
    assert_int_equal(json_array_size(json_object_get(s, "routes")), 6);
    json_decref(s);
    house_close(&h);
}

/* Whatever the API routes, now or in the next change of it, scripts cannot take. */
TEST(paths_of_the_api_are_refused)
{
    const struct api_routes *all[] = {
        &api_feed_routes,         &api_transfer_routes,      &api_history_routes,
        &api_records_read_routes, &api_records_write_routes, &api_bulk_routes,
        &api_health_routes,       &api_docs_routes,          &api_openapi_routes,
        &api_canon_routes,        &api_canon_read_routes,    &api_scripts_routes};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (size_t k = 0; k < all[i]->count; k++) {
            const char *path = all[i]->routes[k].pattern + 1;
            if (!bind_route_is_reserved(path, strcspn(path, "/")))
                fail_msg("/%s is free", path);
        }
    assert_false(bind_route_is_reserved("hello", 5));
    assert_false(bind_route_is_reserved("apis", 4));
    refuses(ROUTE("GET /"), "is Koan's own");
    refuses(ROUTE("GET /api/hello"), "/api is Koan's own");
    refuses(ROUTE("GET /openapi.json"), "/openapi.json is Koan's own");
}

TEST(a_route_is_declared_at_the_top)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, "function late() route \"GET /x\" { run = function() end } end");
    house_fails(&h, "late()", ERR_INVALID, "stand at the top of a script");
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(a_wrong_route_names_file_and_line),
        HOUSE_TEST(two_routes_do_not_stand_in_each_others_way),
        HOUSE_TEST(paths_of_the_api_are_refused),
        HOUSE_TEST(a_route_is_declared_at_the_top),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
