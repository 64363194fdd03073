#include "app/deploys.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"

struct deploy_known {
    char id[DEPLOY_ID_MAX];
    bool over;
    json_t *answer;
    struct err err;
};

struct deploys {
    pthread_mutex_t lock;
    struct deploy_known known[DEPLOYS_KEPT]; /* the oldest is written over */
    unsigned long count;
    long long start; /* ids of another process are others */
};

struct deploys *deploys_new(void)
{
    struct deploys *d = mem_new(sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    d->start = (long long)time(NULL);
    return d;
}

void deploys_free(struct deploys *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < DEPLOYS_KEPT; i++)
        json_decref(d->known[i].answer);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

void deploys_begin(struct deploys *d, char id[DEPLOY_ID_MAX])
{
    pthread_mutex_lock(&d->lock);
    struct deploy_known *k = &d->known[d->count % DEPLOYS_KEPT];
    d->count++;
    json_decref(k->answer);
    *k = (struct deploy_known){.over = false};
    snprintf(k->id, sizeof k->id, "%llx-%lu", d->start, d->count);
    memcpy(id, k->id, sizeof k->id);
    pthread_mutex_unlock(&d->lock);
}

static struct deploy_known *deploys_find(struct deploys *d, const char *id)
{
    if (strcmp(id, "last") == 0)
        return d->count > 0 ? &d->known[(d->count - 1) % DEPLOYS_KEPT] : NULL;
    for (size_t i = 0; i < DEPLOYS_KEPT; i++)
        if (d->known[i].id[0] != '\0' && strcmp(d->known[i].id, id) == 0)
            return &d->known[i];
    return NULL;
}

void deploys_end(struct deploys *d, const char *id, json_t *answer, const struct err *e)
{
    pthread_mutex_lock(&d->lock);
    struct deploy_known *k = deploys_find(d, id);
    if (k != NULL) {
        k->over = true;
        k->answer = TAKE(answer);
        k->err = *e;
    }
    pthread_mutex_unlock(&d->lock);
    json_decref(answer);
}

int deploys_ask(struct deploys *d, const char *id, json_t **answer, struct err *e)
{
    int rc = 1;
    pthread_mutex_lock(&d->lock);
    struct deploy_known *k = deploys_find(d, id);
    if (k == NULL) {
        rc = err_set(e, ERR_NOT_FOUND,
                     "this node knows no deploy '%.40s'; if it was restarted meanwhile, deploy "
                     "again: a migration goes on where it was",
                     id);
    } else if (k->over && k->err.code != 0) {
        *e = k->err;
        rc = k->err.code;
    } else if (k->over) {
        *answer = json_deep_copy(k->answer);
        rc = 0;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}
