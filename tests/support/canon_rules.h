/* Canon rules - what must hold among the tables of the model Port of tenant "default", whenever one
 * looks. */
#ifndef KOAN_SUPPORT_CANON_RULES_H
#define KOAN_SUPPORT_CANON_RULES_H

struct db;

struct canon_rule {
    const char *what, *sql; /* the statement counts what must not be */
};
extern const struct canon_rule canon_rules[]; /* ends with a rule of NULL */

/* The golden records without their ids: members, then values, one line each, sorted. The caller
 * frees it. */
char *canon_rules_golden(struct db *db);

#endif
