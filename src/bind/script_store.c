#include "bind/script_store.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/txn.h"

enum { SCRIPT_OP_DEPLOY = 0x0800, SCRIPT_HASH = 16, SCRIPT_PREFIX_MIN = 4 };

static bool script_is_hash(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_hex_digit(s[i]) < 0)
            return false;
    return n > 0;
}

int script_txn_deploy(struct txn *t, const char *hash, const char *name,
                      enum script_deploy_kind kind, const json_t *files, struct err *e)
{
    if (str_check_name(name, "set of scripts", e) != 0)
        return e->code;
    AUTO(buf_fini) struct buf text = BUF_INIT(SCRIPT_SET_BYTES_MAX);
    int rc = json_print_sorted(files, &text, e);
    if (rc != 0 || (rc = buf_check(&text, "a deployed set of scripts", e)) != 0)
        return rc;
    struct buf *b = txn_begin(t, SCRIPT_OP_DEPLOY, 1);
    buf_add_text(b, hash);
    buf_add_text(b, name);
    buf_add_u8(b, (uint8_t)kind);
    buf_add_bytes(b, text.data, text.len);
    txn_end(t);
    return 0;
}

/* ---- apply ---- */

struct script_text {
    const char *p;
    size_t n;
};

static struct script_text script_read_text(struct cursor *c)
{
    struct script_text t = {0};
    t.p = cursor_bytes(c, &t.n);
    return t;
}

static int script_put_set(struct db *db, struct script_text hash, struct script_text files,
                          struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db, "INSERT OR REPLACE INTO script_sets(hash, files) VALUES(?, ?)", e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, hash.p, hash.n);
    db_bind_text(s, 2, files.p, files.n);
    return db_run(s, e);
}

static int script_put_deploy(const struct apply *a, struct script_text hash,
                             struct script_text name, uint8_t kind, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        a->db,
        "INSERT INTO script_deploys(seq, hash, name, kind, principal, at) VALUES((SELECT "
        "coalesce(max(seq), 0) + 1 FROM script_deploys), ?, ?, ?, ?, ?)",
        e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, hash.p, hash.n);
    db_bind_text(s, 2, name.p, name.n);
    db_bind_int(s, 3, kind);
    db_bind_str(s, 4, a->env->principal);
    db_bind_int(s, 5, a->at);
    return db_run(s, e);
}

static int script_trim(struct db *db, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        db, "DELETE FROM script_deploys WHERE seq <= (SELECT max(seq) FROM script_deploys) - ?", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, SCRIPT_SETS_KEPT);
    int rc = db_run(s, e);
    if (rc == 0 && (s = db_stmt_get(db,
                                    "DELETE FROM script_sets WHERE hash NOT IN (SELECT hash FROM "
                                    "script_deploys)",
                                    e)) == NULL)
        rc = e->code;
    return rc == 0 ? db_run(s, e) : rc;
}

static int script_apply(void *domain, const struct apply *a, uint8_t version,
                        struct cursor *payload, struct buf *result, struct err *e)
{
    (void)domain;
    (void)version;
    (void)result;
    struct script_text hash = script_read_text(payload), name = script_read_text(payload);
    uint8_t kind = cursor_u8(payload);
    struct script_text files = script_read_text(payload);
    if (payload->bad || cursor_left(payload) != 0 || hash.n != SCRIPT_HASH || name.n == 0 ||
        name.n > SCRIPT_NAME_MAX || kind > SCRIPT_ROLLBACK || files.p == NULL ||
        !script_is_hash(hash.p, hash.n))
        return err_set(e, ERR_INVALID, "script.deploy: malformed payload");
    int rc = script_put_set(a->db, hash, files, e);
    if (rc == 0)
        rc = script_put_deploy(a, hash, name, kind, e);
    return rc == 0 ? script_trim(a->db, e) : rc;
}

const struct domain *script_domain(void)
{
    static const struct domain_op ops[] = {{.type = SCRIPT_OP_DEPLOY,
                                            .version_max = 1,
                                            .safety = DOMAIN_ATOMIC,
                                            .name = "script.deploy",
                                            .apply = script_apply}};
    static const struct domain domain = {.name = "script", .ops = ops, .ops_count = 1};
    return &domain;
}

/* ---- reading ---- */

static int script_take(struct db_stmt *s, struct script_live *out, struct err *e)
{
    size_t n;
    str_copy(out->hash, sizeof out->hash, db_col_text(s, 0, NULL));
    str_copy(out->name, sizeof out->name, db_col_text(s, 1, NULL));
    const char *files = db_col_text(s, 2, &n);
    out->files = json_read(files != NULL ? files : "", n, e);
    if (out->files == NULL)
        return err_set(e, ERR_CORRUPT, "the deployed set '%s' (%s) cannot be read", out->name,
                       out->hash);
    return 0;
}

int script_live(struct db *db, struct script_live *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT hash, name, files FROM script_deploys JOIN script_sets "
                                    "USING(hash) ORDER BY seq DESC LIMIT 1",
                                    e);
    int rc = s != NULL ? db_step(s, e) : e->code;
    if (rc == 0)
        return err_set(e, ERR_NOT_FOUND, "no set of scripts was deployed yet");
    return rc < 0 ? rc : script_take(s, out, e);
}

int script_find(struct db *db, const char *name, struct script_live *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db,
        "SELECT hash, name, files, max(seq) AS at FROM script_deploys JOIN script_sets "
        "USING(hash) WHERE CASE WHEN ?1 = '' THEN hash <> (SELECT hash FROM script_deploys "
        "ORDER BY seq DESC LIMIT 1) ELSE name = ?1 OR (?2 AND substr(hash, 1, length(?1)) "
        "= ?1) END GROUP BY hash ORDER BY at DESC LIMIT 2",
        e);
    if (s == NULL)
        return e->code;
    size_t n = strlen(name);
    db_bind_str(s, 1, name);
    db_bind_int(s, 2, n >= SCRIPT_PREFIX_MIN && script_is_hash(name, n));
    int rc = db_step(s, e);
    if (rc < 0)
        return rc;
    if (rc == 0 && n == 0)
        return err_set(e, ERR_NOT_FOUND, "no other set of scripts was deployed before");
    if (rc == 0)
        return err_set(e, ERR_NOT_FOUND,
                       "no deployed set is called '%s'; `koan deploy --list` names them", name);
    return script_take(s, out, e);
}

int script_history(struct db *db, json_t **out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT seq, hash, name, kind, principal, at FROM script_deploys ORDER BY seq DESC", e);
    if (s == NULL)
        return e->code;
    AUTO(json_unref) json_t *list = json_array();
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        char at[TIME_TEXT];
        time_format(db_col_int(s, 5), at);
        json_array_append_new(
            list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "seq", (json_int_t)db_col_int(s, 0),
                            "hash", db_col_text(s, 1, NULL), "name", db_col_text(s, 2, NULL),
                            "kind", db_col_int(s, 3) == SCRIPT_ROLLBACK ? "rollback" : "deploy",
                            "by", db_col_text(s, 4, NULL), "at", at));
    }
    if (rc == 0)
        *out = TAKE(list);
    return rc;
}
