/* The payloads of the queue: any bytes give an operation or a refusal, what is decoded stays inside
 * its copy, and applied, whatever it is taken for, it leaves a state that holds together. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "ledger/txn.h"
#include "queue/queue_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_inside(const char *text, size_t max)
{
    ASSERT(text == NULL || strlen(text) <= max);
}

static void fuzz_send(struct cursor c, uint8_t version, size_t size)
{
    struct send_view *v = mem_new(sizeof *v);
    if (send_decode(&c, version, v, NULL) == 0) {
        text_inside(v->send.queue, CORE_TEXT_MAX);
        text_inside(v->send.key, CORE_TEXT_MAX);
        text_inside(v->headers, QUEUE_HEADERS_BYTES);
        for (uint8_t i = 0; i < v->send.needs_count; i++)
            text_inside(v->send.needs[i].name, CORE_TEXT_MAX);
        ASSERT(v->body_len <= size && v->texts <= v->room + sizeof v->room);
    }
    mem_free(v);
}

static void fuzz_consumer(struct cursor c, uint8_t version)
{
    struct consumer_view *v = mem_new(sizeof *v);
    if (consumer_decode(&c, version, v, NULL) == 0) {
        text_inside(v->consumer.node, CORE_TEXT_MAX);
        for (uint32_t i = 0; i < v->consumer.queues_count; i++)
            text_inside(v->consumer.queues[i], CORE_TEXT_MAX);
        ASSERT(v->texts <= v->room + sizeof v->room);
    }
    mem_free(v);
}

static void fuzz_declare(struct cursor c, uint8_t version)
{
    struct queue_view *v = mem_new(sizeof *v);
    if (declare_decode(&c, version, v, NULL) == 0) {
        text_inside(v->queue.dead_to, CORE_TEXT_MAX);
        if (v->queue.sending != NULL)
            text_inside(v->queue.sending->lane, CORE_TEXT_MAX);
    }
    mem_free(v);
}

static void fuzz_apply(const uint8_t *data, size_t size)
{
    static const struct envelope env = {.tenant = "t", .principal = "p"};
    AUTO(buf_fini) struct buf result = BUF_INIT(1 << 20);
    struct queues *q = queues_new();
    struct apply a = {.seq = 1, .at = 1000, .env = &env};
    ASSERT(core_entry(q->core, a.seq, a.at, NULL) == 0);
    for (size_t i = 0; i < queue_ops_count; i++) {
        struct cursor c;
        cursor_init(&c, data, size);
        core_unit(q->core);
        a.offset += 64;
        queue_ops[i].apply(q, &a, queue_ops[i].version_max, &c, &result, NULL);
    }
    core_check(q->core);
    queues_free(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c, s;
    struct settle_view settle;
    cursor_init(&c, data, size);
    s = c;
    fuzz_send(c, SEND_SAYS_ALL_VERSION, size);
    fuzz_send(c, SEND_VERSION, size);
    fuzz_consumer(c, 1);
    fuzz_consumer(c, 2);
    for (uint8_t version = 1; version <= DECLARE_VERSION; version++)
        fuzz_declare(c, version);
    if (settle_decode(&s, &settle, NULL) == 0)
        ASSERT(settle.text_len <= size);
    fuzz_apply(data, size);
    return 0;
}
