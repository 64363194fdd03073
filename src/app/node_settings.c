/* The layer of the configuration that lives in the ledger, at work: read at start and whenever it
 * has changed, whoever changed it. */
#include <string.h>

#include "app/node_priv.h"
#include "app/remote_config.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "db/db.h"
#include "ledger/ledger.h"
#include "setting/setting.h"

enum { SETTINGS_FAULTS_MAX = 64 << 10 };

static void settings_closep(struct db **db)
{
    db_close(*db);
}

int node_settings_read(struct node *n, struct setting_layer *out, struct err *e)
{
    AUTO(settings_closep) struct db *db = NULL;
    struct db_options o = {.path = ledger_db_path(n->ledger), .mode = DB_READER};
    int rc = db_open(&o, &db, e);
    return rc != 0 ? rc : setting_read(db, out, e);
}

/* As config_with() wants them. */
static json_t *settings_rows(const struct setting_layer *layer)
{
    json_t *rows = json_object(), *row;
    const char *name;
    json_object_foreach(layer->rows, name, row)
    {
        json_object_set_new(
            rows, name,
            json_pack(
                "{s:O, s:o}", "value", json_object_get(row, "value"), "origin",
                json_sprintf("replicated, revision %lld",
                             (long long)json_integer_value(json_object_get(row, "revision")))));
    }
    return rows;
}

/* What this version does not know is without effect, so it is said aloud. */
static void settings_tell(struct node *n, struct buf *faults)
{
    if (faults->len > 0)
        faults->data[--faults->len] = '\0';
    if (faults->len > 0 &&
        (n->settings_faults == NULL || strcmp(n->settings_faults, buf_str(faults)) != 0))
        log_error("config",
                  "replicated settings without effect: %s; `koan config unset` removes them",
                  buf_str(faults));
    mem_free(n->settings_faults);
    n->settings_faults = mem_strdup(buf_str(faults));
}

struct config *node_layers(struct node *n, const struct config *base)
{
    AUTO(buf_fini) struct buf faults = BUF_INIT(SETTINGS_FAULTS_MAX);
    AUTO(json_unref) json_t *none = json_object();
    AUTO(config_freep)
    struct config *lower = config_with(
        base, LAYER_REMOTE, n->remote != NULL ? remote_config_rows(n->remote) : none, &faults);
    struct config *c = config_with(lower, LAYER_REPLICATED, n->settings_rows, &faults);
    settings_tell(n, &faults);
    return c;
}

int node_settings_refresh(struct node *n, struct err *e)
{
    struct setting_layer layer = {.rows = NULL};
    int rc = node_settings_read(n, &layer, e);
    if (rc != 0)
        return rc;
    bool same = n->settings_rows != NULL && layer.revision == n->settings_revision;
    if (!same) {
        json_decref(n->settings_rows);
        n->settings_rows = settings_rows(&layer);
        n->settings_revision = layer.revision;
    }
    json_decref(layer.rows);
    if (!same)
        node_take_config(n, node_layers(n, n->config));
    return 0;
}

int node_settings_open(struct node *n, struct err *e)
{
    struct setting_layer layer = {.rows = NULL};
    if (node_settings_read(n, &layer, e) != 0)
        return err_context(e, "settings");
    n->settings_rows = settings_rows(&layer);
    n->settings_revision = layer.revision;
    json_decref(layer.rows);
    struct config *c = node_layers(n, n->config);
    config_free(n->config);
    n->config = c;
    node_config_log(n);
    return 0;
}

static void settings_changed(struct task *t)
{
    struct node *n = LIST_OF(t, struct node, settings_task);
    struct err e = ERR_INIT;
    atomic_store(&n->settings_told, false);
    if (node_settings_refresh(n, &e) != 0)
        log_error("config", "settings cannot be read: %s", e.text);
}

/* On the ledger's thread. */
static void settings_wake(void *arg)
{
    struct node *n = arg;
    if (!atomic_exchange(&n->settings_told, true))
        runner_post(loop_runner(n->control), &n->settings_task);
}

void node_settings_watch(struct node *n)
{
    n->settings_task.run = settings_changed;
    settings_watch(n->settings, settings_wake, n);
}
