/* Configuration file - koan.lua or koan.json, the same tree either way.
 *
 * Lua here is data only: the file runs once in a sandbox without any binding, under the budgets of
 * vm/vm.h, and returns a table. */
#ifndef KOAN_APP_CONFIG_FILE_H
#define KOAN_APP_CONFIG_FILE_H

#include "base/json.h"

struct err;

enum { CONFIG_FILE_MAX = 1 << 20 };

/* An object, a new reference. The message names file, line and column. Blocks. */
int config_file_read(const char *path, json_t **out, struct err *e);

#endif
