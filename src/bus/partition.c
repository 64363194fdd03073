#include "bus/partition.h"

#include <stdio.h>

#include "base/err.h"
#include "crypt/crypt.h"

uint32_t partition_of(const void *key, size_t n, uint32_t partitions)
{
    uint8_t digest[CRYPT_SHA256];
    uint64_t first = 0;
    ASSERT(partitions >= 1 && partitions <= PARTITIONS_MAX);
    crypt_sha256(key, n, digest);
    for (int i = 0; i < 8; i++)
        first = first << 8 | digest[i];
    return (uint32_t)(first % partitions);
}

void partition_suffix(uint32_t partition, char out[PARTITION_SUFFIX])
{
    ASSERT(partition < PARTITIONS_MAX);
    snprintf(out, PARTITION_SUFFIX, ".p%u", partition);
}
