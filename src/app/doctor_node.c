/* What concerns the node: its port, its files, its scripts. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/check.h"
#include "app/doctor.h"
#include "app/remote.h"
#include "base/err.h"
#include "base/mem.h"
#include "http/client.h"
#include "io/file.h"

/* ---- the port ---- */

/* 0 when it is free, else an errno. */
static int doctor_bind(const char *host, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool is_v4 =
        inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4.sin_addr) == 1;
    if (!is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return EINVAL;
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, errnum = 0;
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
             is_v4 ? sizeof v4 : sizeof v6) != 0 ||
        listen(fd, 1) != 0)
        errnum = errno;
    close(fd);
    return errnum;
}

void doctor_port(struct doctor *d, struct doctor_finding *f)
{
    const char *listen = config_text(d->config, SET_HTTP_LISTEN);
    char host[256];
    uint16_t port = 0;
    setting_address(listen, host, sizeof host, &port);
    int errnum = port == 0 ? 0 : doctor_bind(host, port);
    if (errnum == 0 && d->held) {
        doctor_say(f, DOCTOR_WARN, "%s is free, but a server has the data directory", listen);
        doctor_way(
            f,
            "it listens elsewhere: see its http.listen, and give this command the same settings");
    } else if (errnum == 0) {
        doctor_say(f, DOCTOR_OK, "%s is free", listen);
    } else if (errnum == EADDRINUSE && d->held) {
        doctor_say(f, DOCTOR_OK, "%s is in use, by the server of this data directory as it seems",
                   listen);
    } else if (errnum == EADDRINUSE) {
        doctor_say(f, DOCTOR_FAIL, "%s is in use by another program", listen);
        doctor_way(f, "stop it (`ss -ltnp` names it), or set http.listen");
    } else {
        doctor_say(f, DOCTOR_FAIL, "%s: %s", listen, strerror(errnum));
        doctor_way(f, "http.listen must be an address of this machine; ports below 1024 need "
                      "CAP_NET_BIND_SERVICE");
    }
}

/* ---- modes ---- */

/* Whether others may read the path; with `fix` they may no longer. */
static int doctor_mode(struct doctor *d, struct doctor_finding *f, const char *name, mode_t want)
{
    AUTO(mem_freep) char *path = mem_printf("%s%s%s", d->data, *name != '\0' ? "/" : "", name);
    struct stat st;
    if (stat(path, &st) != 0 || (st.st_mode & (S_IRWXO | (*name != '\0' ? S_IRWXG : 0))) == 0)
        return 0;
    if (d->fix && chmod(path, want) == 0) {
        f->fixed = true;
        return 0;
    }
    doctor_say(f, DOCTOR_WARN, "%s may be read by others (mode %o)", path, st.st_mode & 07777u);
    doctor_way(f, "koan doctor --fix, or chmod %o %s", want, path);
    return 1;
}

void doctor_modes(struct doctor *d, struct doctor_finding *f)
{
    static const char *const secrets[] = {"token", "cursor.key", "koan.db", "koan.db-wal",
                                          "koan.db-shm"};
    int bad = 0;
    if (!file_is_dir(d->data)) {
        doctor_say(f, DOCTOR_OK, "%s is not there yet; the first start makes it", d->data);
        return;
    }
    doctor_say(f, DOCTOR_OK, "nobody else may read %s", d->data);
    bad += doctor_mode(d, f, "", 0700);
    for (size_t i = 0; i < ARRAY_LEN(secrets) && bad == 0; i++)
        bad += doctor_mode(d, f, secrets[i], 0600);
    if (bad == 0 && access(d->data, R_OK | W_OK | X_OK) != 0) {
        doctor_say(f, DOCTOR_FAIL, "%s: this user may not use it: %s", d->data, strerror(errno));
        doctor_way(f, "run as its owner, or chown it");
    }
}

/* ---- scripts ---- */

void doctor_scripts(struct doctor *d, struct doctor_finding *f)
{
    const char *path = config_text(d->config, SET_SCRIPTS);
    AUTO(check_fini) struct check k = {0};
    struct err e = ERR_INIT;
    if (*path == '\0') {
        doctor_say(f, DOCTOR_OK, "no folder is set");
        return;
    }
    if (check_open(&k, d->cli, path, &e) != 0 || check_lint(&k, &e) != 0) {
        doctor_say(f, DOCTOR_FAIL, "%s", e.text);
        return;
    }
    if (k.errors == 0) {
        doctor_say(f, k.warnings == 0 ? DOCTOR_OK : DOCTOR_WARN, "%s: %zu files load, %zu warnings",
                   path, k.scripts.count, k.warnings);
        if (k.warnings > 0)
            doctor_way(f, "koan check %s", path);
        return;
    }
    size_t i;
    json_t *problem;
    json_array_foreach(k.problems, i, problem)
    {
        if (f->verdict != DOCTOR_FAIL &&
            strcmp(json_string_value(json_object_get(problem, "severity")), "error") == 0)
            doctor_say(f, DOCTOR_FAIL, "%s:%lld: %s",
                       json_string_value(json_object_get(problem, "file")),
                       (long long)json_integer_value(json_object_get(problem, "line")),
                       json_string_value(json_object_get(problem, "text")));
    }
    doctor_way(f, "koan check %s", path);
}

/* ---- drift ---- */

void doctor_drift(struct doctor *d, struct doctor_finding *f)
{
    AUTO(remote_closep) struct http_client *h = NULL;
    AUTO(json_unref) json_t *answer = NULL;
    struct err e = ERR_INIT;
    struct http_client_request q = {.method = "GET", .path = "/api/cluster/scripts"};
    if (!d->held) {
        doctor_say(f, DOCTOR_OK, "no server runs on this data directory");
        return;
    }
    if (remote_open(d->cli, &h, &e) != 0 || remote_call(h, &q, &answer, &e) != 0) {
        doctor_say(f, DOCTOR_WARN, "the server was not asked: %s", e.text);
        doctor_way(f, "say where it is with --url, and its --token");
        return;
    }
    json_t *drift = json_object_get(answer, "drift");
    if (json_array_size(drift) == 0) {
        doctor_say(f, DOCTOR_OK, "the server follows what it was given");
        return;
    }
    doctor_say(f, DOCTOR_WARN,
               "%zu files of the server's folder differ from what is deployed, first %s",
               json_array_size(drift),
               json_string_value(json_object_get(json_array_get(drift, 0), "file")));
    doctor_way(
        f, "koan deploy to bring the folder into force, or mend the folder; koan deploy --list");
}
