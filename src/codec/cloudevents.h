/* CloudEvents 1.0 over HTTP: the three content modes, in and out. Pure; it knows no HTTP, only
 * names and values of headers and the bytes of a body.
 *
 *     binary       attributes are "ce-" headers, the body is the data        any other Content-Type
 *     structured   one JSON object of attributes and data         application/cloudevents+json
 *     batch        a JSON array of such objects             application/cloudevents-batch+json
 *
 * What came in one mode may leave in another: an event here is its attributes as text and its data
 * as bytes. The data of a JSON type is the JSON text. So between the modes
 *   - data of JSON becomes the member "data" as it is; text (text/..., XML, in UTF-8 and without
 *     NUL) a string; everything else, and JSON nested so deep that an envelope around it would not
 *     be read any more, "data_base64";
 *   - "data" without datacontenttype is JSON by the rules of the format, and is given the type
 *     "application/json", which other modes must say;
 *   - in binary mode an empty body is no data, and the numbers and booleans of extensions become
 *     text, as the binding has no other.
 * Header values are percent-encoded; to read one, double quotes are taken off first, which senders
 * of older versions of the binding use. Some libraries encode nothing; what they send is taken
 * while it has no '%' that means itself.
 *
 * Strict: what cannot be an event is refused, and the attribute at fault is the error's field
 * ("source", in a batch "[3].source"). Refused are an attribute that is required and missing, given
 * twice or empty; another specversion than 1.0; a name of other than a-z and 0-9; a value that its
 * type does not have (source: URI reference, dataschema: absolute URI, time: RFC 3339,
 * datacontenttype: media type, numbers: 32-bit integers); control characters and code points that
 * are no characters; data that its type says to be JSON and that is not; both "data" and
 * "data_base64". A structured event's "ce-" headers may be there, as the binding allows, and are
 * not looked at.
 *
 * Source of the rules: CloudEvents 1.0.2, its HTTP protocol binding and JSON event format. */
#ifndef KOAN_CODEC_CLOUDEVENTS_H
#define KOAN_CODEC_CLOUDEVENTS_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct buf;
struct err;

enum {
    CLOUDEVENT_NAME_MAX = 64,               /* the standard asks for at most 20 */
    CLOUDEVENT_EXTENSIONS_MAX = 56,         /* with the 8 attributes that have a name: 64 */
    CLOUDEVENT_ATTRIBUTES_BYTES = 16 << 10, /* names and values of one event */
    CLOUDEVENT_DATA_MAX = 4 << 20,
    CLOUDEVENT_BODY_MAX = 10 << 20, /* of a request, in every mode */
    CLOUDEVENT_BATCH_MAX = 1000
};

#define CLOUDEVENT_TYPE "application/cloudevents+json; charset=utf-8"
#define CLOUDEVENT_BATCH_TYPE "application/cloudevents-batch+json; charset=utf-8"

enum cloudevent_mode { CLOUDEVENT_BINARY, CLOUDEVENT_STRUCTURED, CLOUDEVENT_BATCH };
/* How JSON writes the value of an extension. */
enum cloudevent_kind { CLOUDEVENT_TEXT, CLOUDEVENT_INT, CLOUDEVENT_BOOL };

struct cloudevent_extension {
    const char *name, *value;
    enum cloudevent_kind kind;
};

struct cloudevent {
    const char *id, *source, *type;
    const char *subject, *time, *datacontenttype, *dataschema; /* NULL where not given */
    const struct cloudevent_extension *extensions;             /* in the order they came in */
    size_t extension_count;
    const char *data;
    size_t data_n;
    bool has_data; /* a JSON event may have data of no bytes */
};

struct cloudevents {
    enum cloudevent_mode mode;
    struct cloudevent *events; /* one, or as many as the batch has: 0..CLOUDEVENT_BATCH_MAX */
    size_t count;
};

/* Names in either case; those that are not of the binding are not looked at. */
struct cloudevent_header {
    const char *name, *value;
};

/* What a request holds, in memory of the arena or in `body`, which both must outlive it.
 * ERR_INVALID; ERR_TOO_LARGE past a limit above or the arena's; ERR_MEDIA_TYPE for a format of
 * CloudEvents other than JSON; ERR_NOMEM. */
int cloudevents_read(const struct cloudevent_header *headers, size_t count, const char *body,
                     size_t n, struct arena *a, struct cloudevents *out, struct err *e);

/* Whether it is an event at all, as all that follow find out first. ERR_INVALID, ERR_TOO_LARGE. */
int cloudevent_check(const struct cloudevent *ev, struct err *e);
/* Binary mode: header lines, each with "\r\n", Content-Type among them if the event has one. The
 * body is ev->data. On failure `out` may hold a part, here and below. */
int cloudevent_write_headers(const struct cloudevent *ev, struct buf *out, struct err *e);
/* Structured mode: the body, of CLOUDEVENT_TYPE. */
int cloudevent_write(const struct cloudevent *ev, struct buf *out, struct err *e);
/* Batch mode: the body, of CLOUDEVENT_BATCH_TYPE. */
int cloudevent_write_batch(const struct cloudevent *events, size_t count, struct buf *out,
                           struct err *e);

#endif
