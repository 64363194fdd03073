/* HTTP client - one server, one connection kept open, one request at a time; it blocks. For the
 * command line; never on a loop's thread.
 *
 * A request that finds the kept connection closed by the server is sent again on a new one, if
 * nothing of the answer had come and the request is safe to repeat: GET and HEAD, or one whose body
 * is a buffer and that carries an Idempotency-Key. */
#ifndef KOAN_HTTP_CLIENT_H
#define KOAN_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/map.h"

struct err;
struct http_client;

enum {
    HTTP_CLIENT_HEADERS_MAX = 64 * 1024, /* of an answer */
    HTTP_CLIENT_BODY_MAX = 64 * 1024 * 1024,
    HTTP_CLIENT_LINE_MAX = 16 * 1024 * 1024,
    HTTP_CLIENT_PIECE = 64 * 1024
};

struct http_client_options {
    const char *url;     /* "http://127.0.0.1:8090" or "https://host"; a path is a prefix */
    const char *ca_path; /* https: NULL for the system's roots */
    bool insecure;       /* https: believe anybody */
    const char *token;   /* sent as Authorization: Bearer; NULL: none */
    uint32_t timeout_ms; /* of each wait; 0: 30 s */
};

/* Checks the URL; connects with the first request. */
int http_client_new(const struct http_client_options *options, struct http_client **out,
                    struct err *e);
void http_client_free(struct http_client *c); /* takes NULL */

/* Fills up to `n` bytes; 0 ends the body; a code of base/err.h gives up. */
typedef ssize_t http_client_read_cb(void *arg, void *p, size_t n, struct err *e);
/* One line of the answer without its end; not 0 gives up with that code. */
typedef int http_client_line_cb(void *arg, const char *line, size_t n);

struct http_client_request {
    const char *method;  /* "GET" */
    const char *path;    /* "/api/x?y=z", encoded */
    const char *type;    /* of the body, NULL where there is none */
    const char *headers; /* further lines, each with "\r\n"; NULL: none */
    /* The body: a buffer, or read from a callback and sent in chunks. */
    const void *body;
    size_t body_n;
    http_client_read_cb *read;
    void *read_arg;
    /* Where a 2xx answer goes line by line; NULL: into the answer's body, as all others do. */
    http_client_line_cb *line;
    void *line_arg;
};

struct http_client_answer {
    int status;
    struct buf body;
    struct map *headers; /* lower-case name -> char *; the last one wins */
};
void http_client_answer_fini(struct http_client_answer *a); /* also half-filled and for AUTO */
const char *http_client_header(const struct http_client_answer *a, const char *name);

/* 0 when there is an answer, of whatever status. `a` is filled anew and the caller's to fini.
 * ERR_UNAVAILABLE: no connection; ERR_TIMEOUT; ERR_CANCELED: it broke off. */
int http_client_do(struct http_client *c, const struct http_client_request *r,
                   struct http_client_answer *a, struct err *e);
/* The error a problem+json answer carries: its code and detail; for others one that names the
 * status. */
int http_client_problem(const struct http_client_answer *a, struct err *e);

#endif
