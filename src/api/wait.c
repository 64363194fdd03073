/* Reads that must see something: X-Koan-Seq, X-Koan-Consistency. */
#include <stdlib.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/arena.h"
#include "base/str.h"

struct api_wait {
    struct ledger_wait wait;
    struct http_request *req;
    http_handler *go;
};

static void api_wait_run(struct task *task)
{
    struct api_wait *w = (struct api_wait *)((char *)task - offsetof(struct api_wait, wait.task));
    if (w->wait.code == 0) {
        w->go(w->req);
        return;
    }
    struct ledger *l = api_thread_of(w->req)->api->o.ledger;
    http_refuse(w->req, ERR_TIMEOUT,
                "X-Koan-Seq: this node has applied %llu and not yet %llu after %d s",
                (unsigned long long)ledger_applied(l), (unsigned long long)w->wait.seq,
                API_SEQ_WAIT_MS / 1000);
}

/* With one voter everything acknowledged is applied here, so the barrier of `linear` is already
 * behind us, and the leader was heard just now: only a node that lost its leadership must say no.
 */
static bool api_consistent(struct http_request *req, const struct api *a)
{
    const char *want = http_header_in(req, "X-Koan-Consistency");
    if (want == NULL || strcmp(want, "local") == 0)
        return true;
    int64_t age;
    bool max_age = strncmp(want, "max-age=", 8) == 0 &&
                   str_to_i64(want + 8, strlen(want + 8), &age) && age >= 0;
    if (!max_age && strcmp(want, "linear") != 0) {
        http_refuse(req, ERR_INVALID,
                    "X-Koan-Consistency: '%.40s' is none of local, linear, max-age=SECONDS", want);
        return false;
    }
    struct ledger_status s;
    ledger_status(a->o.ledger, &s);
    if (s.leader)
        return true;
    http_refuse(req, max_age ? ERR_UNAVAILABLE : ERR_NO_LEADER,
                "no leader is known here; X-Koan-Consistency: local still answers");
    return false;
}

void api_read(struct http_request *req, http_handler *go)
{
    struct api_thread *t = api_thread_of(req);
    struct ledger *l = t->api->o.ledger;
    if (!api_consistent(req, t->api))
        return;
    const char *text = http_header_in(req, "X-Koan-Seq");
    uint64_t seq = 0;
    if (text != NULL && !str_to_u64(text, strlen(text), &seq)) {
        http_refuse(req, ERR_INVALID, "X-Koan-Seq: '%.40s' is not a log position", text);
        return;
    }
    if (seq <= ledger_applied(l)) {
        go(req);
        return;
    }
    struct api_wait *w = arena_new(http_arena(req), sizeof *w);
    w->wait.task.run = api_wait_run;
    w->wait.home = loop_runner(t->loop);
    w->wait.seq = seq;
    w->req = req;
    w->go = go;
    ledger_wait(l, &w->wait, API_SEQ_WAIT_MS);
}
