/* Labels - what a node has, and what it is only for: the settings `node.labels` and `node.only`.
 *
 *     gpu=2 zone=a ssd                        in the environment, as a flag
 *     {"gpu": 2, "zone": "a", "ssd": true}    there too, and in the file as a table
 *
 * A number is how much of it there is, a text is what it is, and one without a value is only there.
 * The label `node` is always there besides, with the node's id, and cannot be given. */
#ifndef KOAN_APP_LABELS_H
#define KOAN_APP_LABELS_H

#include <stdbool.h>

#include "base/json.h"

struct err;

enum {
    LABELS_MAX = 15,         /* and `node` */
    LABELS_NAME_BYTES = 128, /* of [A-Za-z0-9._/-] */
    LABELS_TEXT_BYTES = 128,
};

/* The object that the text stands for, a new reference. ERR_INVALID names the label. */
int labels_read(const char *text, json_t **out, struct err *e);
/* Names, separated by blanks or commas -> an array, a new reference. */
int labels_read_names(const char *text, json_t **out, struct err *e);
/* What the file has in its place, as text: an object, or (`names`) an array; NULL: it is not that.
 * The caller's. */
char *labels_text(const json_t *v, bool names);
/* Every name of `only` is one of `labels`, or `node`: otherwise the node took nothing, ever. */
int labels_check_only(const char *labels, const char *only, struct err *e);

#endif
