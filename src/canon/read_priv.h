/* What reading and summary share. */
#ifndef KOAN_CANON_READ_H
#define KOAN_CANON_READ_H

#include <stddef.h>
#include <stdint.h>

struct canon_model;
struct canon_survived;
struct db;
struct err;
struct store_source;

const char *canon_stored_name(int stored);
const char *canon_phase_name(int phase);
/* What the source records say together, under the version `def` of the model. */
int canon_read_survive(struct db *db, const struct canon_model *m, uint64_t def,
                       const struct store_source *rows, size_t count, struct canon_survived *out,
                       struct err *e);

#endif
