/* What the log hides: whatever the text, a known secret is not in what comes out, a credential of a
 * URL is not either, and what was JSON is JSON. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REDACT_FUZZ_MAX = 8 << 20 };

/* Around the text, what is to be hidden. */
static void redact_fuzz_around(const char *text)
{
    static const struct str secret = {"Zx9-hidden-9xZ", 14};
    AUTO(buf_fini)
    struct buf in = BUF_INIT(REDACT_FUZZ_MAX), known = BUF_INIT(REDACT_FUZZ_MAX),
               out = BUF_INIT(REDACT_FUZZ_MAX);
    buf_addf(&in, "%s%s%s", text, secret.p, text);
    redact_secrets(buf_str(&in), &secret, 1, &known);
    ASSERT(strstr(buf_str(&known), secret.p) == NULL);
    buf_reset(&in);
    buf_addf(&in, "%s\nhttp://user:%s@host/ password=%s", text, secret.p, secret.p);
    redact_text(buf_str(&in), &out);
    ASSERT(strstr(buf_str(&out), secret.p) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(mem_freep) char *text = mem_strndup((const char *)data, size);
    AUTO(buf_fini) struct buf out = BUF_INIT(REDACT_FUZZ_MAX);
    AUTO(json_unref) json_t *before = json_read(text, strlen(text), NULL);
    redact_text(text, &out);
    ASSERT(!buf_failed(&out) && out.len <= 4 * size + 16);
    if (before != NULL) {
        AUTO(json_unref) json_t *after = json_read(buf_str(&out), out.len, NULL);
        ASSERT(after != NULL);
    }
    redact_fuzz_around(text);
    return 0;
}
