/* Simdisk - files in memory that behave like a disk at its worst.
 *
 * Of each file there are two images: what a running program sees, and what is on stable storage,
 * with the list of writes and truncations in between. sync() applies the list. A power cut decides
 * by the seed for each unsynced change: it survived, it is lost, or some of its 512-byte sectors
 * survived. A sector is never older than a sector state that was reached before, nor a mixture:
 * sectors are written whole from the page cache. Names (create, rename, unlink, mkdir) are
 * remembered apart and need sync_dir() of their folder; a file whose name was lost is gone however
 * often it was synced. A kill loses nothing but what came after the freeze.
 *
 * Beside crashes there are faults on demand: a read, write or sync that fails, a full disk, a
 * flipped bit, and the freeze before the Nth change. */
#ifndef KOAN_TESTS_SIMDISK_H
#define KOAN_TESTS_SIMDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/world.h"

struct sim;
struct simdisk;

enum { SIMDISK_SECTOR = 512 };

struct simdisk *simdisk_new(struct sim *sim);
void simdisk_free(struct simdisk *d);
struct disk *simdisk_disk(struct simdisk *d);

/* Changes so far: writes, syncs, truncations and changes of names. */
uint64_t simdisk_changes(const struct simdisk *d);
/* Freeze when that many more changes have begun; 0 switches off. The last of them may or may not
 * have reached the disk. */
void simdisk_freeze_after(struct simdisk *d, uint64_t changes);
void simdisk_freeze(struct simdisk *d);
bool simdisk_is_frozen(const struct simdisk *d);

/* What a machine finds at its next start; for sim_crash(). All files must be closed. */
void simdisk_kill(struct simdisk *d);
void simdisk_power_cut(struct simdisk *d);

enum simdisk_op { SIMDISK_READ, SIMDISK_WRITE, SIMDISK_SYNC, SIMDISK_OPS };
/* The nth call from now (1: the next) fails once with ERR_IO; 0 switches off. */
void simdisk_fail(struct simdisk *d, enum simdisk_op op, uint64_t nth);
bool simdisk_failed(const struct simdisk *d); /* one of them did, since the last simdisk_fail */
void simdisk_capacity(struct simdisk *d, uint64_t bytes); /* 1 TiB at first */
uint64_t simdisk_used(const struct simdisk *d);

/* All that is on another disk, on stable storage; `d` is new, and the other's files are closed. */
void simdisk_adopt(struct simdisk *d, const struct simdisk *from);
/* Between crashes, with all files closed. -1 when there is no such file. */
int64_t simdisk_size(const struct simdisk *d, const char *path);
void simdisk_flip(struct simdisk *d, const char *path, uint64_t byte, unsigned bit);
uint8_t simdisk_peek(const struct simdisk *d, const char *path, uint64_t byte);
/* The nth path in order of age that contains `part`; NULL past the last. */
const char *simdisk_path(const struct simdisk *d, const char *part, size_t nth);

#endif
