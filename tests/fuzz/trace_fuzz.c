/* What traces read from outside: traceparent, lists of pairs, and records of the ring. What is
 * taken is printed as the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "trace/trace_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void trace_fuzz_pair(void *arg, const char *name, const char *value)
{
    (void)arg;
    ASSERT(*name != '\0' && str_is_utf8(value, strlen(value)));
    for (const char *p = value; *p != '\0'; p++)
        ASSERT((unsigned char)*p >= ' ');
}

static void trace_fuzz_text(const uint8_t *data, size_t size)
{
    AUTO(mem_freep) char *text = mem_strndup((const char *)data, size);
    struct trace_span s;
    char again[TRACE_PARENT_TEXT];
    if (trace_parse(text, &s)) {
        s.id = s.parent;
        trace_format(&s, again);
        ASSERT(strncmp(again + 3, text + 3, 49) == 0);
    }
    trace_pairs(text, trace_fuzz_pair, NULL);
}

/* As a record whose sum is right: what its texts and numbers are is for the decoder to find out. */
static void trace_fuzz_record(const uint8_t *data, size_t size)
{
    uint8_t record[EVENT_BYTES_MAX] = {0};
    size_t n = size < sizeof record - RING_RECORD_HEAD ? size : sizeof record - RING_RECORD_HEAD;
    memcpy(record + RING_RECORD_HEAD, data, n);
    uint32_t head[2] = {(uint32_t)(RING_RECORD_HEAD + n), hash_crc32c(0, data, n)};
    memcpy(record, head, sizeof head);
    struct event ev;
    if (!event_decode(record, RING_RECORD_HEAD + n, &ev))
        return;
    AUTO(buf_fini) struct buf out = BUF_INIT(1 << 20);
    event_print(&ev, "n", &out);
    AUTO(json_unref) json_t *v = json_read(buf_str(&out), out.len, NULL);
    ASSERT(v != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    trace_fuzz_text(data, size);
    trace_fuzz_record(data, size);
    return 0;
}
