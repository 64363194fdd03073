#include "http/address.h"

#include "support/unit.h"

TEST(only_addresses_of_the_public_internet_are_public)
{
    static const char *const open[] = {"1.1.1.1",          "172.15.0.1",     "172.32.0.1",
                                       "100.63.0.1",       "100.128.0.1",    "169.253.0.1",
                                       "9.9.9.9",          "223.255.255.1",  "2606:4700::1",
                                       "64:ff9b::101:101", "2002:101:101::1"};
    static const char *const closed[] = {"127.0.0.1",
                                         "127.9.9.9",
                                         "0.0.0.0",
                                         "10.1.2.3",
                                         "172.16.0.1",
                                         "172.31.255.255",
                                         "192.168.1.1",
                                         "169.254.169.254",
                                         "100.64.0.1",
                                         "224.0.0.1",
                                         "255.255.255.255",
                                         "198.19.0.1",
                                         "::1",
                                         "::",
                                         "fe80::1",
                                         "fe80::1%eth0",
                                         "fc00::1",
                                         "fd12::1",
                                         "ff02::1",
                                         "::ffff:127.0.0.1",
                                         "::ffff:10.0.0.1",
                                         "::127.0.0.1",
                                         "64:ff9b::7f00:1",
                                         "2002:7f00:1::",
                                         "2002:a00:1::1",
                                         "64:ff9b:1::a00:1",
                                         "nonsense",
                                         ""};
    for (size_t i = 0; i < ARRAY_LEN(open); i++)
        if (!address_is_public(open[i]))
            fail_msg("%s is public", open[i]);
    for (size_t i = 0; i < ARRAY_LEN(closed); i++)
        if (address_is_public(closed[i]))
            fail_msg("%s is not public", closed[i]);
}

TEST(a_number_is_no_name)
{
    static const char *const numbers[] = {"127.0.0.1", "::1", "fe80::1%eth0"};
    static const char *const names[] = {"localhost", "example.com", "127.1.example", "10", ""};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        assert_true(address_is_numeric(numbers[i]));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_false(address_is_numeric(names[i]));
}

TEST(the_list_names_hosts_addresses_and_networks)
{
    static const struct {
        const char *allow, *host, *address;
        bool want;
    } cases[] = {
        {NULL, "h", "10.0.0.1", false},
        {"", "h", "10.0.0.1", false},
        {"*", "h", "10.0.0.1", true},
        {"h", "H", "10.0.0.1", true},
        {"h", "hh", "10.0.0.1", false},
        {"*.internal", "db.internal", "10.0.0.1", true},
        {"*.internal", "internal", "10.0.0.1", false},
        {"*.internal", "evilinternal", "10.0.0.1", false},
        {"a, 10.0.0.1", "h", "10.0.0.1", true},
        {"10.0.0.0/8", "h", "10.200.0.1", true},
        {"10.0.0.0/9", "h", "10.200.0.1", false},
        {"10.0.0.0/33", "h", "10.0.0.1", false},
        {"10.0.0.0/x", "h", "10.0.0.1", false},
        {"fd00::/8 ::1", "h", "fd12::1", true},
        {"fd00::/8 ::1", "h", "::1", true},
        {"::1", "h", "127.0.0.1", false},
        {"127.0.0.1", "h", "::ffff:127.0.0.1", true},
        {"0.0.0.0/0", "h", "fd12::1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (address_is_allowed(cases[i].allow, cases[i].host, cases[i].address) != cases[i].want)
            fail_msg("%s: %s %s", cases[i].allow, cases[i].host, cases[i].address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(only_addresses_of_the_public_internet_are_public),
        HEAP_TEST(a_number_is_no_name),
        HEAP_TEST(the_list_names_hosts_addresses_and_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
