/* Remote - a server as the command line sees it: where it is, who we are, JSON in and out.
 *
 * Blocks. The connection is http/client.h's. */
#ifndef KOAN_APP_REMOTE_H
#define KOAN_APP_REMOTE_H

#include "base/json.h"

struct buf;
struct cli;
struct err;
struct http_client;
struct http_client_request;

/* From --url, --token, --ca, --insecure, and KOAN_URL, KOAN_TOKEN, KOAN_TOKEN_FILE. */
int remote_open(const struct cli *c, struct http_client **out, struct err *e);
/* --url, KOAN_URL, or the default. */
const char *remote_url(const struct cli *c);
/* 0 and a new reference (NULL for an answer without a body) for 2xx, else the code and words of the
 * problem that the server reports. `out` may be NULL. */
int remote_call(struct http_client *h, const struct http_client_request *q, json_t **out,
                struct err *e);
/* remote_open and one remote_call; prints what fails. An exit code. `body` may be NULL. */
int remote_once(struct cli *c, const char *method, const char *path, const json_t *body,
                const char *headers, json_t **out);
/* GET of `path`. With --json the answer is printed, and *out stays NULL: the command has done its
 * work. An exit code. */
int remote_show(struct cli *c, const char *path, json_t **out);
/* The flags that were given, behind `path` as its query: `names` are theirs there. A switch is
 * "true". */
void remote_query(const struct cli *c, struct buf *path, const char *const *flags,
                  const char *const *names, size_t count);
void remote_closep(struct http_client **h); /* for AUTO */

#endif
