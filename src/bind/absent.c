/* What scripts of Koan can say and this version cannot do. A set that mentions such a name does not
 * load, wherever it stands, so that it does not fail in a handler some night; a text that is run at
 * once, or a name that is looked up in _G, is refused when it gets there. */
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "bind/bind_priv.h"
#include "vm/lint.h"

static const struct absent {
    const char *name, *needs;
} absents[] = {
    {"recipe", "media"},
    {"media", "media"},
    {"blob", "blob storage"},
    {"secret", "the vault"},
    {"cluster", "the cluster"},
    {"auth", "users and roles"},
    {"levenshtein", "matching of similar records"},
    {"jaro_winkler", "matching of similar records"},
    {"jaccard", "matching of similar records"},
    {"phonetic", "matching of similar records"},
    {"exact", "matching of similar records"},
};

static void absent_words(const struct absent *a, char *out, size_t cap)
{
    snprintf(out, cap, "%s: needs %s, which this version of Koan does not have", a->name, a->needs);
}

/* host.absent: name -> words */
void bind_open_absent(lua_State *L)
{
    char words[160];
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(absents); i++) {
        absent_words(&absents[i], words, sizeof words);
        lua_pushstring(L, words);
        lua_setfield(L, -2, absents[i].name);
    }
    lua_setfield(L, -2, "absent");
}

struct absent_look {
    const struct map *names;
    struct err *e;
};

static void absent_note(void *arg, const struct vm_lint_note *n)
{
    struct absent_look *look = arg;
    char words[160];
    if (look->e->code != 0) /* the first is enough */
        return;
    absent_words(map_gets(look->names, n->text), words, sizeof words);
    err_set(look->e, ERR_INVALID, "%s:%d:%d: %s", n->file, n->line, n->column, words);
}

int bind_absent_check(const struct vm_source *files, size_t count, struct err *e)
{
    struct err own = ERR_INIT, *to = e != NULL ? e : &own;
    struct map *names = map_new(), *theirs = map_new();
    struct absent_look look = {names, to};
    to->code = 0;
    for (size_t i = 0; i < count; i++) /* a global of their own may have the name */
        vm_lint_collect(&files[i], theirs);
    for (size_t i = 0; i < ARRAY_LEN(absents); i++)
        if (map_gets(theirs, absents[i].name) == NULL)
            map_puts(names, absents[i].name, (void *)&absents[i]);
    for (size_t i = 0; i < count; i++)
        vm_lint_reads(&files[i], names, absent_note, &look);
    map_free(names, NULL);
    map_free(theirs, NULL);
    return to->code;
}
