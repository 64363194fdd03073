/* The filter language a second time, for tests: read from the page that defines it, value by value
 * over plain JSON, sharing no code with src/entity.
 *
 * It is slow and short. It answers for filters that the parser takes; what must be refused is
 * listed case by case in the tests. `fields` is the "fields" object of a definition with each `of`
 * written out as an object. */
#ifndef KOAN_TESTS_SUPPORT_FILTER_ORACLE_H
#define KOAN_TESTS_SUPPORT_FILTER_ORACLE_H

#include <stdbool.h>

#include "base/json.h"

bool filter_oracle(const json_t *fields, const json_t *filter, const json_t *record);

#endif
