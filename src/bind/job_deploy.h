/* Bringing what a set declares of jobs to those that are there. */
#ifndef KOAN_BIND_JOB_DEPLOY_H
#define KOAN_BIND_JOB_DEPLOY_H

#include "bind/bind_priv.h"

struct txn;

/* Appends what differs; a job that the set does not declare is orphaned. On script thread 0. */
int bind_jobs_add(struct bind *b, const struct bind_set *set, struct txn *t, struct err *e);

#endif
