/* The small decoders: base64, hex, times, durations, sizes, numbers, ids. The first byte
 * chooses; what was decoded must encode to something that decodes to the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "base/uuid.h"
#include "codec/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_base64(const char *s, size_t n)
{
    for (int kind = BASE64_STD; kind <= BASE64_URL; kind++) {
        AUTO(buf_fini) struct buf bytes = BUF_INIT(8 << 20);
        AUTO(buf_fini) struct buf back = BUF_INIT(8 << 20);
        if (base64_decode((enum base64_kind)kind, s, n, &bytes, NULL) != 0)
            continue;
        base64_encode((enum base64_kind)kind, bytes.data, bytes.len, &back);
        ASSERT(back.len == n && memcmp(buf_str(&back), s, n) == 0);
    }
    AUTO(buf_fini) struct buf hex = BUF_INIT(8 << 20);
    hex_decode(s, n, &hex, NULL);
}

static void text_values(const char *s, size_t n)
{
    int64_t ms, back, i;
    uint64_t bytes;
    double d;
    char text[TIME_TEXT], words[40];
    struct uuid u;
    AUTO(mem_freep) char *z = mem_strndup(s, n);
    if (time_parse(s, n, &ms)) {
        time_format(ms, text);
        ASSERT(time_parse(text, strlen(text), &back) && back == ms);
    }
    if (duration_parse(z, &ms, NULL) == 0) {
        duration_format(ms, words, sizeof(words));
        ASSERT(duration_parse(words, &back, NULL) == 0 && back == ms);
    }
    if (size_parse(z, &bytes, NULL) == 0)
        size_format(bytes, words, sizeof(words));
    str_to_i64(s, n, &i);
    str_to_double(s, n, &d);
    str_check_id(s, n, NULL);
    uuid_parse(s, n, &u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const char *s = (const char *)data + 1;
    if (data[0] % 2u == 1)
        text_base64(s, size - 1);
    else
        text_values(s, size - 1);
    return 0;
}
