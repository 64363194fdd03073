/* Settings - the one table of everything that can be configured, and the values in force.
 *
 * `settings_table` is the only place that knows a setting's name, kind, default and words. The
 * configuration file, the environment, the flags, `koan config show`, its check of spelling and the
 * page web/docs/configuration.md are all read off it.
 *
 * A value goes through layers, later wins:
 *
 *     default       the table's, and those of `koan dev`
 *     file          koan.lua or koan.json
 *     remote        a document that a remote provider serves (app/remote_config.h)
 *     replicated    what was set while it runs: `koan config set`, in the ledger
 * (setting/setting.h) environment   PORT, systemd's credentials, KOAN_SECTION_KEY, or
 * KOAN_SECTION_KEY_FILE: a file that holds it flag          and a socket from systemd, which is
 * `http.listen` whatever else says (app/activation.h)
 *
 * All layers are kept, so each value knows where it came from and what it hides, and one layer can
 * be replaced without reading the others again: config_with(). A setting that is `local` is needed
 * before the ledger is open, or speaks of this machine; remote and replicated may not say it.
 *
 * Faults do not stop the reading: all of them are collected, so that one start names everything
 * that has to be mended; a tree with faults is never used (F3: a reload that fails leaves the old
 * configuration in force).
 *
 * Three sections are free: `app` holds whatever scripts want to know (config.NAME; KOAN_APP_NAME
 * overrides it), `flags` what flag() answers, `lanes` the shares and caps of the queue's lanes
 * (app/node_lanes.c). In all of them layers count name by name.
 *
 * Everything here blocks, and is for the main thread. A `struct config` is immutable once loaded.
 */
#ifndef KOAN_APP_SETTINGS_H
#define KOAN_APP_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"

struct err;

enum {
    CONFIG_LANE_NAME = 64, /* bytes of a lane's name */
    CONFIG_LANES_MAX = 48, /* in force: three layers, each with as many as there can be lanes */
};

enum setting_id {
    SET_DATA,
    SET_SCRIPTS,
    SET_ENV,
    SET_ALLOW_MAGIC,
    SET_TOKEN,
    SET_HTTP_LISTEN,
    SET_HTTP_ACCESS,
    SET_HTTP_TLS_CERT,
    SET_HTTP_TLS_KEY,
    SET_HTTP_THREADS,
    SET_HTTP_CONNECTIONS,
    SET_HTTP_STREAM_TIME,
    SET_HTTP_RATE,
    SET_HTTP_RATE_PER,
    SET_HTTP_RATE_BURST,
    SET_HTTP_RATE_BY,
    SET_LEDGER_TIMEOUT,
    SET_LEDGER_KEEP,
    SET_LEDGER_KEEP_BYTES,
    SET_LEDGER_SEGMENT_BYTES,
    SET_LEDGER_SNAPSHOT_BYTES,
    SET_SCRIPT_THREADS,
    SET_SCRIPT_MEMORY,
    SET_HTTP_ORIGINS,
    SET_WORK_CONCURRENCY,
    SET_WORK_LEASE,
    SET_NODE_LABELS,
    SET_NODE_ONLY,
    SET_HTTP_ALLOW,
    SET_ENTITY_KEEP_REMOVED,
    SET_TRACE_KEEP,
    SET_TRACE_BYTES,
    SET_OTEL_ENDPOINT,
    SET_OTEL_HEADERS,
    SET_OTEL_SERVICE,
    SET_OTEL_SAMPLE,
    SET_CONFIG_REMOTE,
    SET_CONFIG_REMOTE_URL,
    SET_CONFIG_REMOTE_TOKEN,
    SET_CONFIG_REMOTE_INTERVAL,
    SET_LOG_LEVEL,
    SET_LOG_FORMAT,
    SET_DRAIN_TIMEOUT,
    SET_COUNT
};

enum setting_kind {
    SETTING_TEXT,
    SETTING_PATH,
    SETTING_SECRET,
    SETTING_ADDRESS, /* host:port, [v6]:port, :port or port */
    SETTING_INT,
    SETTING_DURATION, /* number is milliseconds */
    SETTING_SIZE,     /* number is bytes */
    SETTING_CHOICE,
    SETTING_BOOL,   /* true, false; the number is 1, 0 */
    SETTING_URL,    /* https, or http on a loopback address; no user or password in it */
    SETTING_LABELS, /* app/labels.h */
    SETTING_NAMES,  /* of labels */
};

struct setting {
    const char *name; /* "http.listen"; also the flag --http.listen */
    enum setting_kind kind;
    const char *fallback; /* the default, as text */
    int64_t min, max;     /* int, duration (ms), size; 0, 0: any */
    const char *choices;  /* separated by blanks */
    bool live;            /* a change takes effect at once; else pending until a restart */
    bool local;           /* not remote, not replicated */
    const char *flag;     /* a shorter flag, or NULL */
    const char *brief;    /* what it is for, in one line of --help and completion */
    const char *help;     /* the same in sentences: manual page, guide */
};

extern const struct setting settings_table[SET_COUNT];
const char *setting_kind_name(enum setting_kind k);

struct setting_value {
    char *text;     /* NULL in a layer that does not say it; in force never NULL */
    int64_t number; /* int, duration, size; choice: its place */
    char *origin;   /* "default", "koan.json", "environment KOAN_HTTP_LISTEN", "flag --listen" */
};

enum config_layer {
    LAYER_DEFAULT,
    LAYER_FILE,
    LAYER_REMOTE,
    LAYER_REPLICATED,
    LAYER_ENVIRONMENT,
    LAYER_FLAG,
    LAYER_COUNT
};

struct config_tier {
    struct setting_value values[SET_COUNT];
    json_t *rows; /* of the free sections: "app.NAME", .. -> {"value", "origin"} */
};

struct config {
    struct setting_value values[SET_COUNT];  /* in force */
    struct setting_value pending[SET_COUNT]; /* text not NULL: in force after a restart */
    char *file;                              /* the configuration file that was read, or NULL */
    json_t *app, *flags;                     /* what scripts read; objects */
    json_t *lanes;                           /* NAME -> {"weight", "cap"} */
    json_t *origins;                         /* "app.NAME", .. -> where it came from */
    struct config_tier tiers[LAYER_COUNT];
};

/* A setting given on the command line. */
struct config_flag {
    const char *name;  /* without dashes: "listen" or "http.listen" */
    const char *value; /* NULL: it had none */
};

struct config_sources {
    const char *file; /* --config, or NULL: KOAN_CONFIG, else ./koan.lua or ./koan.json if there */
    const struct config_flag *flags;
    size_t flags_count;
    char *const *environment; /* NULL: the process's */
    bool dev;                 /* defaults of `koan dev` */
};

/* 0, or ERR_INVALID with every fault as a line in `faults`. *out is set only on success. The layers
 * remote and replicated are empty. */
int config_load(const struct config_sources *s, struct config **out, struct buf *faults);

/* A tree as in the file -> names and values: {"http.threads": 3, "app.rate": 2, "flags.new": true};
 * `rows` is added to. */
int config_flatten(const json_t *tree, json_t *rows, struct err *e);
/* Is this a value of this setting or of a free section that a layer of the cluster may say? Then
 * *out (may be NULL) is it in the one form that is kept, a new reference. The message names the
 * key, or the nearest right one. */
int config_check(const char *key, const json_t *value, json_t **out, struct err *e);
/* `base` with another layer, from {"log.level": {"value": "debug", "origin": "..."}}: a new
 * configuration. Rows that config_check() refuses are left out and told in `faults`. */
struct config *config_with(const struct config *base, enum config_layer layer, const json_t *rows,
                           struct buf *faults);
/* `fresh` follows `now`: settings that are not live stay as they are in `now`, what they will be is
 * pending. */
void config_follow(struct config *fresh, const struct config *now);

void config_free(struct config *c);   /* takes NULL */
void config_freep(struct config **c); /* for AUTO */
const char *config_text(const struct config *c, enum setting_id id);
int64_t config_number(const struct config *c, enum setting_id id);
bool config_is_default(const struct config *c, enum setting_id id);
/* What may be shown: secrets as "***". */
const char *config_shown(const struct config *c, enum setting_id id);

/* The same of a value of it that is not in force. */
const char *config_mask(enum setting_id id, const char *text);
/* The value in force of app.NAME, flags.NAME or lanes.NAME, or NULL. Borrowed. */
const json_t *config_row_value(const struct config *c, const char *key);
/* What may be shown of a value of a free section: what sounds like a secret as "***".
 * Appended. */
void config_row_shown(const char *key, const json_t *value, struct buf *out);
/* The same of the value in force; one that came from a file of its own or from systemd's
 * credentials is a secret whatever it is called. */
void config_row_shown_in(const struct config *c, const char *key, struct buf *out);
/* Whether a value of this origin came so. */
bool config_is_from_file(const char *origin);

/* Everything that may be shown, setting by setting, with origin, what it hides and what is pending;
 * a new reference. */
json_t *config_json(const struct config *c);
/* Where the value of a setting or of a free section comes from, or NULL; *pending: in force
 * after a restart. */
const char *config_origin(const struct config *c, const char *key, bool *pending);

/* lanes.NAME = { weight = 4, cap = 2 }: what it leaves out is as of a lane that nobody declared. */
struct config_lane {
    char name[CONFIG_LANE_NAME + 1];
    uint32_t weight, cap; /* cap UINT32_MAX: none */
};
/* `value` NULL: nothing says anything of it. The message names the member. */
int config_lane_read(const char *name, const json_t *value, struct config_lane *out, struct err *e);
/* What the layers below the replicated one make of it. */
int config_lane_below(const struct config *c, const char *name, struct config_lane *out);
/* All that are in force, into `out`, CONFIG_LANES_MAX of them; how many. */
uint32_t config_lanes(const struct config *c, struct config_lane *out);

/* Which provider of the remote layer serves: "embedded" is none but the ledger. NULL: the pin is
 * wrong. *report (may be NULL) is that of app/election.h. */
const char *config_elect_remote(const struct config *c, json_t **report, struct err *e);

/* The setting of this name or short flag, or -1. */
int setting_find(const char *name);
/* "[::1]:8090" -> "::1", 8090. false when it is not an address. `host` has `cap` bytes. */
bool setting_address(const char *text, char *host, size_t cap, uint16_t *port);
/* 127.0.0.0/8, ::1 and localhost. */
bool setting_is_loopback(const char *host);
/* All settings as a Markdown table: the heart of web/docs/configuration.md. */
void settings_markdown(struct buf *out);

#endif
