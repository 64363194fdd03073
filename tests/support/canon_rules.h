/* Canon rules - what must hold among the tables of the model Port of tenant "default", whenever one
 * looks. */
#ifndef KOAN_SUPPORT_CANON_RULES_H
#define KOAN_SUPPORT_CANON_RULES_H

struct db;
struct queues;

struct canon_rule {
    const char *what, *sql; /* the statement counts what must not be */
};
extern const struct canon_rule canon_rules[]; /* ends with a rule of NULL */

/* C1: what is parked of the model, and what waits in its queue for people, are the same. NULL, or
 * what is wrong. Between two entries of the log. */
const char *canon_rules_parked(struct db *db, const struct queues *q);

/* The golden records without their ids: members, then values, one line each, sorted. The caller
 * frees it. */
char *canon_rules_golden(struct db *db);

#endif
