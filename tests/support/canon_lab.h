/* Canon lab - ledger, entities, canon and engines on one loop that the calling thread turns, in a
 * folder of its own. */
#ifndef KOAN_SUPPORT_CANON_LAB_H
#define KOAN_SUPPORT_CANON_LAB_H

#include "canon/canon.h"
#include "ledger/ledger.h"

struct entities;
struct loop;

enum { LAB_ENGINES = 2 };

struct canon_lab {
    char dir[256];
    struct loop *loop;
    struct ledger *ledger;
    struct entities *entities;
    struct canon *canon;
    struct queues *queues;
    struct db *reader;
    struct canon_engine *engines[LAB_ENGINES];
    struct canon_hooks *hooks;      /* the test's, or NULL */
    const struct canon_hand *hands; /* of every engine that lab_reopen() makes */
    size_t hands_count;
    bool asleep; /* engines are not started: they take up nothing by themselves */
    struct envelope env;
};

/* Both texts are JSON. */
void lab_open(struct canon_lab *lab, const char *entity, const char *model);
/* The same with stage functions of the test's. */
void lab_open_hooks(struct canon_lab *lab, const char *entity, const char *model,
                    struct canon_hooks *hooks);
/* One more entity and its model. */
void lab_define(struct canon_lab *lab, const char *entity, const char *model);
void lab_close(struct canon_lab *lab);
/* Close and open again on the same folder. */
void lab_reopen(struct canon_lab *lab);

struct lab_arrival {
    const char *origin, *source_id;
    int64_t observed_at;
    const char *data;
};
/* Sends the arrivals as one request through an engine; the answers stay until canon_request_fini().
 * Several may be under way. */
struct lab_request {
    struct canon_request r;
    struct canon_arrival *arrivals;
    bool over;
};
void lab_send(struct canon_lab *lab, int engine, const char *model, struct lab_request *q,
              const struct lab_arrival *list, size_t count);
/* One patch of a golden record in the same way. */
void lab_send_patch(struct canon_lab *lab, int engine, const char *model, struct lab_request *q,
                    const char *id, enum canon_change change, const char *patch);
/* Of one arrival that the caller has filled, for another verb of the engine. */
void lab_request(struct canon_lab *lab, struct lab_request *q);
void lab_wait(struct canon_lab *lab, struct lab_request *q);
void lab_request_fini(struct lab_request *q);
/* One arrival through the first engine, waited for: the outcome; its golden id in `id` when not
 * NULL. */
enum canon_outcome lab_arrive(struct canon_lab *lab, const char *model, const char *origin,
                              const char *source_id, int64_t observed_at, const char *data,
                              char id[257]);
enum canon_outcome lab_withdraw(struct canon_lab *lab, const char *model, const char *origin,
                                const char *source_id, bool erase);
/* All golden records of the model as text: each as "sources => values", sorted, so that ids do not
 * matter. */
char *lab_state(struct canon_lab *lab, const char *model);
int64_t lab_number(struct canon_lab *lab, const char *sql);
/* Turns until the number is that, or fails. */
void lab_until(struct canon_lab *lab, const char *sql, int64_t want);
void lab_step(struct canon_lab *lab); /* one turn */
/* Turns until nothing is left to do. */
void lab_settle(struct canon_lab *lab);

#endif
