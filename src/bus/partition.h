/* Partition - which of n parts a key belongs to, the same in every version, process and language:
 * the first 8 bytes of SHA-256(key), as a big-endian number, modulo n.
 *
 * Inside of Koan order is kept for each key by itself, and nothing is divided. Brokers outside know
 * no keys, so what is for them goes to the part's own queue, whose name has the suffix: of 16 parts
 * "order-1" is in 12, suffix ".p12", and "customer-42" in 5. Programs beside Koan compute the same
 * with any SHA-256:
 *
 *     int.from_bytes(sha256(key).digest()[:8], "big") % 16                      in Python
 *
 * Why a cryptographic hash: every language has it, and nobody argues about its seed, its variant or
 * its byte order. Taking 8 bytes makes the remainder's bias immeasurable. */
#ifndef KOAN_BUS_PARTITION_H
#define KOAN_BUS_PARTITION_H

#include <stddef.h>
#include <stdint.h>

enum { PARTITIONS = 16, PARTITIONS_MAX = 1024, PARTITION_SUFFIX = 8 };

/* 0..partitions-1; `partitions` is 1..PARTITIONS_MAX. Needs crypt_start(). */
uint32_t partition_of(const void *key, size_t n, uint32_t partitions);
/* ".p12" */
void partition_suffix(uint32_t partition, char out[PARTITION_SUFFIX]);

#endif
