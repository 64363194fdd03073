/* Payload - what the operations of a unit are made of beside numbers, read with a cursor (buf.h):
 * texts of bounded length, ids, and that nothing is left over. */
#ifndef KOAN_BASE_PAYLOAD_H
#define KOAN_BASE_PAYLOAD_H

#include "base/buf.h"
#include "base/uuid.h"

/* A text of least..max bytes without a NUL, as buf_add_text() writes it, copied to `out`, which has
 * room for `max` and a NUL. False, and the cursor is bad and `out` empty, when it is not one, or
 * none was written. */
bool cursor_text(struct cursor *c, char *out, size_t least, size_t max);
/* Its 16 bytes; all zero when they are not there. */
void uuid_read(struct cursor *c, struct uuid *out);
/* All was read and nothing was bad; else ERR_INVALID, about the payload of `op`. */
int cursor_whole(const struct cursor *c, const char *op, struct err *e);

#endif
