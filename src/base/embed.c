#include "base/embed.h"

#include <string.h>

/* Made by the build, sorted by path as strcmp sorts. */
extern const struct embed_file embed_files[];
extern const size_t embed_files_n;

/* Index of the first file whose path is not below `path`. */
static size_t embed_lower_bound(const char *path)
{
    size_t low = 0, high = embed_files_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(embed_files[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct embed_file *embed_find(const char *path)
{
    size_t i = embed_lower_bound(path);
    if (i == embed_files_n || strcmp(embed_files[i].path, path) != 0)
        return NULL;
    return &embed_files[i];
}

const struct embed_file *embed_next(const char *prefix, const struct embed_file *last)
{
    size_t i = last == NULL ? embed_lower_bound(prefix) : (size_t)(last - embed_files) + 1;
    if (i == embed_files_n || strncmp(embed_files[i].path, prefix, strlen(prefix)) != 0)
        return NULL;
    return &embed_files[i];
}
