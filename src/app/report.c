/* The boot report: what runs, what was set and by whom, what was decided and why. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/node_priv.h"
#include "base/log.h"

void node_report(struct node *n, const char *topic, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_addf(&n->report, "%-9s ", topic);
    buf_vaddf(&n->report, fmt, args);
    buf_addc(&n->report, '\n');
    va_end(args);
}

void node_report_settings(struct node *n)
{
    if (n->config->file != NULL)
        node_report(n, "config", "%s", n->config->file);
    for (int i = 0; i < SET_COUNT; i++)
        if (!config_is_default(n->config, (enum setting_id)i))
            node_report(n, "setting", "%s = %s (%s)", settings_table[i].name,
                        config_shown(n->config, (enum setting_id)i), n->config->values[i].origin);
}

void node_report_print(struct node *n)
{
    const char *format = config_text(n->config, SET_LOG_FORMAT);
    bool people =
        strcmp(format, "text") == 0 || (strcmp(format, "auto") == 0 && isatty(STDERR_FILENO) == 1);
    if (people)
        fprintf(stderr, "koan %s\n", KOAN_VERSION);
    else
        log_info("boot", "koan version=%s pid=%d", KOAN_VERSION, (int)getpid());
    int lines = 1;
    for (const char *at = buf_str(&n->report); *at != '\0';) {
        size_t len = strcspn(at, "\n");
        if (++lines == NODE_REPORT_LINES)
            break;
        if (people)
            fprintf(stderr, "  %.*s\n", (int)len, at);
        else
            log_info("boot", "%.*s", (int)len, at);
        at += len + (at[len] == '\n');
    }
}
