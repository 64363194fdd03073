#include "app/access.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "app/settings.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/file.h"

enum { ACCESS_TOKEN_BYTES = 24, ACCESS_FILE_MAX = 4096 };

/* The token of an earlier start, or a new one. */
static int access_from_file(const char *data, struct access *a, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/token", data);
    AUTO(mem_freep) char *text = NULL;
    size_t n = 0;
    int rc = file_read(path, ACCESS_FILE_MAX, &text, &n, e);
    if (rc == 0) {
        n = strcspn(text, "\r\n");
        if (n == 0)
            return err_set(e, ERR_INVALID, "%s is empty; write a token into it or remove it", path);
        a->token = mem_strndup(text, n);
        snprintf(a->why, sizeof a->why, "token from %s", path);
        return 0;
    }
    if (rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    unsigned char random[ACCESS_TOKEN_BYTES];
    char hex[2 * ACCESS_TOKEN_BYTES + 2];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_errno(e, errno, "token: no randomness");
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(hex + 2 * i, 3, "%02x", random[i]);
    a->token = mem_strdup(hex);
    a->made = true;
    hex[2 * ACCESS_TOKEN_BYTES] = '\n';
    snprintf(a->why, sizeof a->why, "token made, kept in %s", path);
    return file_write(path, hex, sizeof hex - 1, 0600, e);
}

int access_open(const struct config *config, const char *data, struct access *out, struct err *e)
{
    AUTO(access_fini) struct access a = {0};
    char host[256];
    uint16_t port = 0;
    setting_address(config_text(config, SET_HTTP_LISTEN), host, sizeof host, &port);
    const char *mode = config_text(config, SET_HTTP_ACCESS),
               *token = config_text(config, SET_TOKEN);
    int rc = 0;
    if (strcmp(mode, "open") == 0) {
        snprintf(a.why, sizeof a.why, "open to all: http.access is open (%s)",
                 config->values[SET_HTTP_ACCESS].origin);
    } else if (*token != '\0') {
        a.token = mem_strdup(token);
        snprintf(a.why, sizeof a.why, "token from %s", config->values[SET_TOKEN].origin);
    } else if (strcmp(mode, "auto") == 0 && setting_is_loopback(host)) {
        snprintf(a.why, sizeof a.why, "open: %.100s is a loopback address", host);
    } else {
        rc = access_from_file(data, &a, e);
    }
    if (rc != 0)
        return rc;
    *out = a;
    a = (struct access){0};
    return 0;
}

void access_fini(struct access *a)
{
    mem_free(a->token);
    a->token = NULL;
}
