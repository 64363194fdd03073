/* --watch: a command again and again, as a view that lives. */
#include <stdio.h>
#include <time.h>

#include "app/cli.h"
#include "base/time.h"

enum { WATCH_MS = 1000, WATCH_BUFFER = 64 << 10 };

const struct cli_flag cli_watch_flags[1] = {CLI_WATCH_FLAG};

static void watch_head(const struct cli *c)
{
    char at[TIME_TEXT];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time_format(now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000, at);
    if (c->terminal)
        fputs("\033[H\033[2J", stdout);
    printf("koan %s", c->command->name);
    for (int i = 0; i < c->places_count; i++)
        printf(" %s", c->places[i]);
    printf("   %s\n\n", at);
}

int cli_watch(struct cli *c)
{
    const struct timespec wait = {.tv_sec = WATCH_MS / 1000, .tv_nsec = WATCH_MS % 1000 * 1000000L};
    setvbuf(stdout, NULL, _IOFBF, WATCH_BUFFER); /* a picture at a time */
    for (;;) {
        if (!c->json)
            watch_head(c);
        int rc = c->command->run(c);
        if (!c->json && !c->terminal)
            putchar('\n');
        if (fflush(stdout) != 0)
            return CLI_ERROR;
        if (rc == CLI_USAGE) /* anything else may be better in a second */
            return rc;
        nanosleep(&wait, NULL);
    }
}
