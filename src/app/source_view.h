/* Source view - the line of a script that an error is about, with a caret under the place. */
#ifndef KOAN_APP_SOURCE_VIEW_H
#define KOAN_APP_SOURCE_VIEW_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct vm_source;

struct source_place {
    char file[256];
    int line, column;  /* column 0: not known */
    const char *words; /* what stands behind, inside the text that was read */
};

/* "app.lua:3:5: words" or "app.lua:3: words". false: it begins with no such place. */
bool source_place(const char *text, struct source_place *out);
/* Appends two lines, "   3 | prnt(x)" and the caret; nothing where the file or line is not there.
 * Where the column is not known it is that of a name that the words quote, else of the first
 * character of the line. */
void source_view(const struct vm_source *files, size_t count, const struct source_place *p,
                 bool color, struct buf *out);

#endif
