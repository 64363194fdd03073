/* What the files of coord's scenario share: coord_sim.c (the node, its lives, what must hold),
 * coord_acts.c (clients, and what they are told). */
#ifndef KOAN_TESTS_SIM_COORD_SIM_H
#define KOAN_TESTS_SIM_COORD_SIM_H

#include "coord/coord.h"
#include "sim/house.h"

enum {
    CLIENTS = 7,
    NAMES = 2,
    KEYS = 12,
    NOTES_MAX = 4000,
    MARGIN_MS = 400, /* of what a unit takes, and of a turn */
};

enum doing { IDLE, ASKING, HOLDING, BEGUN };
enum sent { SENT_NOTHING, SENT_RENEW, SENT_WORK, SENT_RELEASE, SENT_BEGIN, SENT_PROCESSED };

struct node;

struct client {
    struct node *node;
    int number;
    enum doing doing;
    enum sent sent; /* under way */
    bool silent;    /* holds, and does nothing more */
    int name, key;
    uint32_t serial;
    char id[32];
    uint64_t token;
    int64_t ttl;
    uint64_t acked_ns, sent_ns; /* when what was last granted or renewed was asked for */
    struct coord_wait wait;
    bool waits;
    struct unit unit;
};

/* What was acknowledged. */
struct note {
    uint64_t seq, token;
    int name;
};
struct begun {
    uint64_t seq;
    int64_t at, expires;
    int key;
};

struct node {
    struct house h; /* first */
    struct coord *coord;
    uint64_t opened_ns;
    struct client clients[CLIENTS];
    struct note *grants, *works;
    size_t grants_count, works_count;
    struct begun *begins;
    size_t begins_count;
    uint64_t processed_seq[KEYS]; /* 0: not, as far as anybody was told */
};

/* ---- coord_acts.c ---- */
void coord_sim_client_turn(struct client *c);

#endif
