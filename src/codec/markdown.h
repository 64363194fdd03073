/* Markdown - the part of it that the guide is written in, as HTML.
 *
 * Headings (with ids to link to), paragraphs, fenced and indented code, tables, lists of one level,
 * `code`, **strong**, *emphasis* and [links](page.md), which lead to the page without its ending.
 * Everything else is text. Nothing in the input becomes HTML by itself: what is special there is
 * escaped, and links have http, https or no scheme. */
#ifndef KOAN_CODEC_MARKDOWN_H
#define KOAN_CODEC_MARKDOWN_H

#include <stddef.h>

struct buf;

/* Appends the HTML of `n` bytes of UTF-8. */
void markdown_html(const char *text, size_t n, struct buf *out);
/* Appends the text of the first heading, escaped; nothing when there is none. */
void markdown_title(const char *text, size_t n, struct buf *out);

#endif
