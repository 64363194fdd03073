/* What the files of an import share: import.c (reading, batches, answers), import_state.c,
 * import_again.c (records that are sent once more). */
#ifndef KOAN_APP_IMPORT_PRIV_H
#define KOAN_APP_IMPORT_PRIV_H

#include "app/import.h"

/* Sets state_path. */
int import_state_open(struct import *im, struct err *e);
/* Makes `records` and moves the file to where the last run stopped. */
int import_state_resume(struct import *im, struct err *e);

#endif
