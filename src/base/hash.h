/* Hash - CRC32C for what lies on disk, a fast 64-bit hash for tables and the state hash. Neither is
 * for secrets.
 *
 * hash64 is stable for ever (the state hash of the ledger depends on it): golden values in its test
 * pin it down. */
#ifndef KOAN_BASE_HASH_H
#define KOAN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Castagnoli polynomial; `crc` is the value so far, 0 to begin. Uses SSE4.2 where the CPU has it.
 */
uint32_t hash_crc32c(uint32_t crc, const void *p, size_t n);
/* What machines without SSE4.2 run; its test compares the two. */
uint32_t hash_crc32c_portable(uint32_t crc, const void *p, size_t n);
/* hash64(seed, b, 9) of the byte and, behind it, the word in the machine's order. */
uint64_t hash64_cell(uint64_t seed, uint8_t byte, uint64_t word);
/* XXH64: the values of any common implementation. */
uint64_t hash64(uint64_t seed, const void *p, size_t n);

#endif
