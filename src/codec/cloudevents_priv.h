/* What the pieces of cloudevents share: the attributes that have a name, and what may be in them.
 */
#ifndef KOAN_CODEC_CLOUDEVENTS_PRIV_H
#define KOAN_CODEC_CLOUDEVENTS_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/cloudevents.h"

#define CLOUDEVENT_VERSION "1.0"

/* The member that holds an attribute with a name, NULL when it is none. */
const char **cloudevent_member(struct cloudevent *ev, const char *name);
/* The name of the i-th of them, in the order in which they are written; NULL past the last. */
const char *cloudevent_member_name(size_t i);

/* cloudevent_check() but for the data. */
int cloudevent_check_attributes(const struct cloudevent *ev, struct err *e);
/* `name` is of a-z and 0-9 and of no more than CLOUDEVENT_NAME_MAX bytes, and not "data". */
int cloudevent_check_name(const char *name, struct err *e);
/* The data, if JSON, is: and how deep it is nested. */
int cloudevent_check_data(const struct cloudevent *ev, size_t *depth, struct err *e);

/* Of a media type: "json" or "...+json"; text in UTF-8 as far as its words go; the part before the
 * parameters is that, in either case; the charset, if it names one, is UTF-8. NULL is none. */
bool cloudevent_is_json(const char *type);
bool cloudevent_is_text(const char *type);
bool cloudevent_is_utf8(const char *type);
/* A format of events, by which a mode is known. */
bool cloudevent_is_own(const char *type);
size_t cloudevent_bare(const char *type); /* bytes before the parameters */

#endif
