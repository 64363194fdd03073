/* Reads that may take long: on libuv's pool, each with a connection of its own. */
#include "api/api_priv.h"
#include "db/db.h"

/* Opened when first needed, so that a node that only serves records does not pay for them. */
static int api_reader_take(struct api *a, struct db **out, struct err *e)
{
    pthread_mutex_lock(&a->lock);
    while (a->readers_idle == 0 && a->readers_open == API_POOL_READERS)
        pthread_cond_wait(&a->reader_free, &a->lock);
    if (a->readers_idle > 0) {
        *out = a->readers[--a->readers_idle];
        pthread_mutex_unlock(&a->lock);
        return 0;
    }
    a->readers_open++;
    pthread_mutex_unlock(&a->lock);
    int rc = api_reader_open(a, out, e);
    if (rc != 0) {
        pthread_mutex_lock(&a->lock);
        a->readers_open--;
        pthread_cond_signal(&a->reader_free);
        pthread_mutex_unlock(&a->lock);
    }
    return rc;
}

static void api_reader_give(struct api *a, struct db *db)
{
    pthread_mutex_lock(&a->lock);
    a->readers[a->readers_idle++] = db;
    pthread_cond_signal(&a->reader_free);
    pthread_mutex_unlock(&a->lock);
}

void api_pool_close(struct api *a)
{
    ASSERT(a->readers_idle == a->readers_open);
    while (a->readers_idle > 0)
        db_close(a->readers[--a->readers_idle]);
    a->readers_open = 0;
}

static struct api_job *api_job_of(struct loop_work *w)
{
    return (struct api_job *)((char *)w - offsetof(struct api_job, work));
}

static void api_job_work(struct loop_work *w)
{
    struct api_job *j = api_job_of(w);
    struct db *db = NULL;
    if (api_reader_take(j->api, &db, &j->err) != 0)
        return;
    db_set_clock(db, j->clock);
    j->run(j, db);
    api_reader_give(j->api, db);
}

static void api_job_done(struct loop_work *w)
{
    struct api_job *j = api_job_of(w);
    j->done(j);
}

void api_job_start(struct api_job *j, struct http_request *req)
{
    j->req = req;
    api_job_begin(j, api_thread_of(req));
}

void api_job_begin(struct api_job *j, struct api_thread *t)
{
    j->api = t->api;
    j->clock = loop_world(t->loop);
    j->work.work = api_job_work;
    j->work.done = api_job_done;
    if (loop_queue(t->loop, &j->work, &j->err) != 0)
        j->done(j);
}
