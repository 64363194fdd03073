#include "app/activation.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

union activation_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool activation_number(char *const *environment, const char *name, uint64_t *out)
{
    size_t n = strlen(name);
    for (char *const *v = environment; *v != NULL; v++)
        if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
            return str_to_u64(*v + n + 1, strlen(*v + n + 1), out);
    return false;
}

static bool activation_is_listening(int fd)
{
    int type = 0, listening = 0;
    socklen_t len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM)
        return false;
    len = sizeof listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0;
}

int activation_socket(char *const *environment, char address[ACTIVATION_ADDRESS_MAX], struct err *e)
{
    uint64_t pid = 0, count = 0;
    if (!activation_number(environment, "LISTEN_PID", &pid) || pid != (uint64_t)getpid() ||
        !activation_number(environment, "LISTEN_FDS", &count) || count == 0)
        return 0;
    if (count > 1)
        return err_set(
            e, ERR_INVALID,
            "systemd hands over %llu sockets, and Koan serves HTTP on one; keep a single "
            "ListenStream= in koan.socket",
            (unsigned long long)count);
    union activation_address a;
    socklen_t len = sizeof a;
    char host[INET6_ADDRSTRLEN];
    if (!activation_is_listening(ACTIVATION_FD) || getsockname(ACTIVATION_FD, &a.any, &len) != 0)
        return err_set(e, ERR_INVALID,
                       "the socket that systemd hands over does not listen for streams; use "
                       "ListenStream= and Accept=no in koan.socket");
    if (a.any.sa_family == AF_INET && inet_ntop(AF_INET, &a.v4.sin_addr, host, sizeof host) != NULL)
        snprintf(address, ACTIVATION_ADDRESS_MAX, "%s:%u", host, ntohs(a.v4.sin_port));
    else if (a.any.sa_family == AF_INET6 &&
             inet_ntop(AF_INET6, &a.v6.sin6_addr, host, sizeof host) != NULL)
        snprintf(address, ACTIVATION_ADDRESS_MAX, "[%s]:%u", host, ntohs(a.v6.sin6_port));
    else
        return err_set(e, ERR_INVALID,
                       "the socket that systemd hands over is no TCP socket; ListenStream= in "
                       "koan.socket must be a port or an address and a port");
    fcntl(ACTIVATION_FD, F_SETFD, FD_CLOEXEC);
    return ACTIVATION_FD;
}

int activation_credentials(const char *folder, activation_credential_cb *each, void *arg,
                           struct err *e)
{
    DIR *d = opendir(folder);
    if (d == NULL)
        return err_errno(e, errno, "CREDENTIALS_DIRECTORY %s", folder);
    int count = 0;
    for (struct dirent *entry;
         count <= ACTIVATION_CREDENTIALS_MAX && (entry = readdir(d)) != NULL;) {
        if (!str_starts(entry->d_name, "koan."))
            continue;
        AUTO(mem_freep) char *path = mem_printf("%s/%s", folder, entry->d_name);
        if (++count <= ACTIVATION_CREDENTIALS_MAX)
            each(arg, entry->d_name + strlen("koan."), path);
    }
    closedir(d);
    if (count > ACTIVATION_CREDENTIALS_MAX)
        return err_set(e, ERR_INVALID, "CREDENTIALS_DIRECTORY %s: more than %d credentials", folder,
                       ACTIVATION_CREDENTIALS_MAX);
    return 0;
}
