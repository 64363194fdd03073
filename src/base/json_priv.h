/* What the files of JSON share. */
#ifndef KOAN_BASE_JSON_PRIV_H
#define KOAN_BASE_JSON_PRIV_H

#include "base/json.h"

struct json_member {
    const char *key;
    size_t n;
    json_t *value;
};

int json_member_order(const void *a, const void *b);
/* The members of an object sorted by the bytes of their keys; NULL when out of memory. */
struct json_member *json_sorted(const json_t *o);

#endif
