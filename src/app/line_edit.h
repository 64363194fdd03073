/* Line edit - one line from a terminal, with history and completion; from a pipe, as it comes.
 *
 *   Left Right Home End, Ctrl-A Ctrl-E Ctrl-B Ctrl-F       move          Up Down, Ctrl-P Ctrl-N
 * history Backspace Delete, Ctrl-K Ctrl-U Ctrl-W Ctrl-D          remove        Tab complete Ctrl-L
 * clear the screen, Ctrl-C give up the line, Ctrl-D on an empty line: the end
 *
 * Main thread only. */
#ifndef KOAN_APP_LINE_EDIT_H
#define KOAN_APP_LINE_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

struct line_edit;

enum { LINE_MAX_BYTES = 64 << 10, LINE_HISTORY_MAX = 1000, LINE_CHOICES_SHOWN = 60 };

/* The texts that could stand where the last word of `before` stands, `*from` is where that begins.
 * A new array; NULL: none. */
typedef json_t *line_complete_cb(void *arg, const char *before, size_t *from);

/* `history_path` may be NULL: then nothing is kept. */
struct line_edit *line_edit_new(const char *history_path, line_complete_cb *complete, void *arg);
void line_edit_free(struct line_edit *l); /* writes the history */

enum line_result { LINE_OK, LINE_GIVEN_UP, LINE_END };
/* The line without its end; the caller's to free on LINE_OK. */
enum line_result line_edit_read(struct line_edit *l, const char *prompt, char **out);
void line_edit_remember(struct line_edit *l, const char *line);
bool line_edit_is_terminal(const struct line_edit *l);

#endif
