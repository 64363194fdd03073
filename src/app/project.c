#include "app/project.h"

#include <errno.h>
#include <unistd.h>

#include "app/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/file.h"

static bool project_is(const char *folder)
{
    AUTO(mem_freep) char *lua = mem_printf("%s/koan.lua", folder);
    AUTO(mem_freep) char *json = mem_printf("%s/koan.json", folder);
    return file_exists(lua) || file_exists(json);
}

int project_enter(struct cli *c)
{
    if (c->places_count == 0)
        return CLI_OK;
    const char *place = c->places[0];
    if (c->config_file == NULL && file_is_dir(place) && project_is(place)) {
        if (chdir(place) == 0)
            return CLI_OK;
        struct err e = ERR_INIT;
        file_error(&e, errno, "enter", place);
        return cli_fail(c, &e);
    }
    c->settings[c->settings_count++] = (struct config_flag){"scripts", place};
    return CLI_OK;
}
