#include "setting/setting.h"

#include "base/err.h"
#include "base/mem.h"
#include "ledger/domain.h"
#include "ledger/txn.h"
#include "setting/setting_priv.h"

struct settings {
    struct domain domain;
    bool changed; /* by the entry that is being applied; the ledger's thread */
    void (*tell)(void *arg);
    void *arg;
};

static int setting_apply(void *domain, const struct apply *a, uint8_t version,
                         struct cursor *payload, struct buf *result, struct err *e)
{
    (void)version;
    struct settings *self = domain;
    struct setting_op op;
    struct setting_item it;
    uint64_t now = 0;
    uint32_t count = 0;
    int rc = setting_decode(payload, &op, e);
    if (rc == 0)
        rc = store_revision(a->db, &now, e);
    if (rc != 0)
        return rc;
    if (op.revision != SETTING_ANY && op.revision != now)
        return err_set(e, ERR_VERSION_MISMATCH,
                       "the settings have revision %llu, not %llu; read them again",
                       (unsigned long long)now, (unsigned long long)op.revision);
    struct setting_who who = {.revision = now + 1,
                              .principal = a->env->principal,
                              .reason = a->env->reason != NULL ? a->env->reason : "",
                              .at = a->at};
    while (rc == 0 && setting_next(&op.items, &it)) {
        bool changed = false;
        rc = store_put(a->db, &it, &who, &changed, e);
        count += changed;
    }
    if (rc == 0 && count > 0 && (rc = store_check(a->db, e)) == 0)
        rc = store_trim(a->db, e);
    if (rc != 0)
        return rc;
    self->changed |= count > 0;
    buf_add_u64(result, count > 0 ? who.revision : now);
    buf_add_u32(result, count);
    return 0;
}

static void setting_committed(void *domain, uint64_t seq, int64_t at)
{
    (void)seq;
    (void)at;
    struct settings *self = domain;
    if (self->changed && self->tell != NULL)
        self->tell(self->arg);
    self->changed = false;
}

struct settings *settings_new(void)
{
    static const struct domain_op ops[] = {{.type = SETTING_OP_CHANGE,
                                            .version_max = 1,
                                            .safety = DOMAIN_PARTIAL,
                                            .name = "setting.change",
                                            .apply = setting_apply}};
    struct settings *s = mem_new(sizeof *s);
    s->domain = (struct domain){
        .name = "setting", .self = s, .ops = ops, .ops_count = 1, .committed = setting_committed};
    return s;
}

void settings_free(struct settings *s)
{
    mem_free(s);
}

const struct domain *settings_domain(struct settings *s)
{
    return &s->domain;
}

void settings_watch(struct settings *s, void (*changed)(void *arg), void *arg)
{
    s->tell = changed;
    s->arg = arg;
}
