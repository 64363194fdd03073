/* Script diff - what changed between two sets of scripts, for people who have just saved a file. */
#ifndef KOAN_APP_SCRIPT_DIFF_H
#define KOAN_APP_SCRIPT_DIFF_H

#include <stdbool.h>

#include "base/json.h"

struct buf;
struct scripts;

enum {
    SCRIPT_DIFF_LINES = 12, /* shown of a file */
    SCRIPT_DIFF_SPAN =
        500, /* lines between the first and the last change that are compared one by one */
    SCRIPT_DIFF_WIDTH = 120, /* bytes of a line */
};

/* [{file, change: "added" | "removed" | "changed", added, removed}], a new reference; and, appended
 * to `text` (may be NULL), the same to read, with the lines. */
json_t *script_diff(const struct scripts *before, const struct scripts *now, bool color,
                    struct buf *text);

#endif
