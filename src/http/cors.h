/* CORS - pages of which other origins may read our answers. None, until origins are listed.
 *
 * A browser sends `Origin` with what a page asks of another origin, asks ahead (OPTIONS) before
 * anything that a plain form could not send, and shows the page an answer only if that names its
 * origin. Listed origins are named in every answer, refusals too, so that a page can read why. No
 * answer allows credentials that a browser adds by itself: there are none, a token is sent by the
 * page's own code.
 *
 * Where no token is asked for, being on this machine is the credential, and a browser on it would
 * lend that to any page: http_is_foreign() tells such requests. */
#ifndef KOAN_HTTP_CORS_H
#define KOAN_HTTP_CORS_H

#include <stdbool.h>

struct cors;
struct err;
struct http_request;

enum { CORS_ORIGINS_MAX = 64, CORS_MAX_AGE_S = 7200 };

/* Origins like "https://app.example.org", separated by blanks, or "*" for all; "" gives NULL. */
int cors_new(const char *origins, struct cors **out, struct err *e);
void cors_free(struct cors *c); /* takes NULL */
bool cors_lists(const struct cors *c, const char *origin);

/* A page of an origin that is neither ours nor listed made the browser send it. */
bool http_is_foreign(const struct http_request *req);

#endif
