/* Checks that Lua files compile and that SQL files run, one after the other, in an empty database:
 * what the binary embeds must not fail for the first time on a user's machine. usage: syntax
 * FILE... */
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <sqlite3.h>

static int syntax_check_lua(const char *path)
{
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return 1;
    int bad = luaL_loadfilex(L, path, "t") != LUA_OK;
    if (bad)
        printf("%s\n", lua_tostring(L, -1));
    lua_close(L);
    return bad;
}

static int syntax_check_sql(sqlite3 *db, const char *path)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return 1;
    }
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    if (n == sizeof text) {
        printf("%s: over %zu bytes\n", path, sizeof text - 1);
        return 1;
    }
    text[n] = '\0';
    char *message = NULL;
    int bad = sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK;
    if (bad)
        printf("%s: %s\n", path, message);
    sqlite3_free(message);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;
    sqlite3 *db;
    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        return 1;
    for (int i = 1; i < argc; i++) {
        const char *dot = strrchr(argv[i], '.');
        if (dot != NULL && strcmp(dot, ".lua") == 0)
            bad += syntax_check_lua(argv[i]);
        else if (dot != NULL && strcmp(dot, ".sql") == 0)
            bad += syntax_check_sql(db, argv[i]);
    }
    sqlite3_close(db);
    return bad != 0;
}
