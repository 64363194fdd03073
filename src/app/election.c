#include "app/election.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { ELECTION_REASON_MAX = 400 };

static bool election_can(const struct election_candidate *c)
{
    return !c->needs_address || c->found != NULL;
}

/* How strong a claim is, whatever its priority. */
static int election_claim(const struct election_candidate *c)
{
    if (c->found == NULL)
        return 0;
    return c->in_environment ? 2 : 1;
}

/* Why `a` goes before `b`, or NULL when it does not. */
static const char *election_before(const struct election_candidate *a,
                                   const struct election_candidate *b)
{
    if (election_can(a) != election_can(b))
        return election_can(a) ? "no address was found" : NULL;
    if (election_claim(a) != election_claim(b))
        return election_claim(a) > election_claim(b) ? election_claim(a) == 2
                                                           ? "no address for it in the environment"
                                                           : "no address was found for it"
                                                     : NULL;
    if (a->priority != b->priority)
        return a->priority > b->priority ? "its priority is lower" : NULL;
    return strcmp(a->name, b->name) < 0 ? "of the same priority its name comes later" : NULL;
}

static int election_pinned(const char *setting, const char *pin,
                           const struct election_candidate *candidates, size_t count,
                           size_t *winner, struct err *e)
{
    const char *names[ELECTION_CANDIDATES_MAX];
    for (size_t i = 0; i < count; i++) {
        names[i] = candidates[i].name;
        if (strcmp(pin, candidates[i].name) != 0)
            continue;
        if (!election_can(&candidates[i]))
            return err_field(e, ERR_INVALID, setting,
                             "%s: '%s' is pinned, but no address of it is known", setting, pin);
        *winner = i;
        return 0;
    }
    const char *near = str_nearest(pin, names, count);
    if (near != NULL)
        return err_field(e, ERR_INVALID, setting,
                         "%s: there is no provider '%s'; did you mean '%s'?", setting, pin, near);
    return err_field(e, ERR_INVALID, setting, "%s: there is no provider '%s'", setting, pin);
}

static void election_reason(const struct election_candidate *w, const char *setting, bool pinned,
                            char out[ELECTION_REASON_MAX])
{
    if (pinned)
        snprintf(out, ELECTION_REASON_MAX, "%s pins it", setting);
    else if (w->found != NULL)
        snprintf(out, ELECTION_REASON_MAX, "its address was found: %.300s", w->found);
    else
        snprintf(out, ELECTION_REASON_MAX, "no address of another one was found");
}

static json_t *election_report(const char *seam, const char *setting, bool pinned,
                               const struct election_candidate *candidates, size_t count,
                               size_t winner)
{
    char reason[ELECTION_REASON_MAX];
    json_t *losers = json_array();
    election_reason(&candidates[winner], setting, pinned, reason);
    for (size_t i = 0; i < count; i++) {
        if (i == winner)
            continue;
        const char *why =
            pinned ? "another one is pinned" : election_before(&candidates[winner], &candidates[i]);
        json_array_append_new(losers,
                              json_pack("{s:s, s:s}", "name", candidates[i].name, "reason", why));
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "seam", seam, "winner", candidates[winner].name,
                     "reason", reason, "losers", losers);
}

int election_hold(const char *seam, const char *setting, const char *pin,
                  const struct election_candidate *candidates, size_t count, size_t *winner,
                  json_t **report, struct err *e)
{
    ASSERT(count > 0 && count <= ELECTION_CANDIDATES_MAX);
    size_t best = 0;
    if (pin != NULL && election_pinned(setting, pin, candidates, count, &best, e) != 0)
        return e->code;
    for (size_t i = 1; pin == NULL && i < count; i++)
        if (election_before(&candidates[i], &candidates[best]) != NULL)
            best = i;
    if (!election_can(&candidates[best]))
        return err_set(e, ERR_INVALID, "%s: no provider can serve it", seam);
    *winner = best;
    if (report != NULL)
        *report = election_report(seam, setting, pin != NULL, candidates, count, best);
    return 0;
}
