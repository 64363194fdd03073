#include "http/address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

/* All addresses as IPv6; those of IPv4 are mapped. */
struct address {
    uint8_t b[16];
};

static bool address_read(const char *text, size_t n, struct address *out, bool *v4)
{
    char copy[64];
    if (n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memcpy(out->b, mapped, 12);
    *v4 = inet_pton(AF_INET, copy, out->b + 12) == 1;
    if (*v4)
        return true;
    copy[strcspn(copy, "%")] = '\0'; /* fe80::1%eth0 */
    return inet_pton(AF_INET6, copy, out->b) == 1;
}

static bool address_in(const struct address *a, const struct address *net, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a->b, net->b, whole) != 0)
        return false;
    return rest == 0 || ((a->b[whole] ^ net->b[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

static bool address_in_text(const struct address *a, const char *net, unsigned bits)
{
    struct address n;
    bool v4 = false;
    return address_read(net, strlen(net), &n, &v4) && address_in(a, &n, v4 ? bits + 96 : bits);
}

static bool address_in_any(const struct address *a)
{
    static const struct {
        const char *net;
        unsigned bits;
    } closed[] = {
        {"0.0.0.0", 8},      {"10.0.0.0", 8},    {"100.64.0.0", 10},   {"127.0.0.0", 8},
        {"169.254.0.0", 16}, {"172.16.0.0", 12}, {"192.0.0.0", 24},    {"192.0.2.0", 24},
        {"192.168.0.0", 16}, {"198.18.0.0", 15}, {"198.51.100.0", 24}, {"203.0.113.0", 24},
        {"224.0.0.0", 4},    {"240.0.0.0", 4},   {"::", 127},          {"fc00::", 7},
        {"fe80::", 10},      {"fec0::", 10},     {"ff00::", 8},        {"2001:db8::", 32},
        {"100::", 64},       {"2001::", 32}};
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++)
        if (address_in_text(a, closed[i].net, closed[i].bits))
            return true;
    return false;
}

bool address_is_numeric(const char *host)
{
    struct address a;
    bool v4;
    return address_read(host, strlen(host), &a, &v4);
}

bool address_is_public(const char *address)
{
    struct address a, inner;
    bool v4;
    if (!address_read(address, strlen(address), &a, &v4) || address_in_any(&a))
        return false;
    /* An IPv4 address travels in the last four bytes of NAT64 (64:ff9b::/96) and of the old
     * IPv4-compatible form, and behind 2002: in 6to4. */
    memset(inner.b, 0, 10);
    memset(inner.b + 10, 0xff, 2);
    if (address_in_text(&a, "64:ff9b::", 96) || address_in_text(&a, "::", 96) ||
        address_in_text(&a, "64:ff9b:1::", 48))
        memcpy(inner.b + 12, a.b + 12, 4);
    else if (address_in_text(&a, "2002::", 16))
        memcpy(inner.b + 12, a.b + 2, 4);
    else
        return true;
    return !address_in_any(&inner);
}

static bool address_entry(const char *entry, size_t n, const char *host, const struct address *a)
{
    if (n == 1 && *entry == '*')
        return true;
    if (n > 2 && strncmp(entry, "*.", 2) == 0) {
        size_t tail = n - 1, len = strlen(host);
        return len > tail && strncasecmp(host + len - tail, entry + 1, tail) == 0;
    }
    const char *slash = memchr(entry, '/', n);
    struct address net;
    bool v4 = false;
    if (!address_read(entry, slash != NULL ? (size_t)(slash - entry) : n, &net, &v4))
        return strlen(host) == n && strncasecmp(host, entry, n) == 0;
    uint64_t bits = v4 ? 32 : 128;
    if (slash != NULL && (!str_to_u64(slash + 1, n - (size_t)(slash + 1 - entry), &bits) ||
                          bits > (v4 ? 32u : 128u)))
        return false;
    return a != NULL && address_in(a, &net, (unsigned)bits + (v4 ? 96 : 0));
}

bool address_is_allowed(const char *allow, const char *host, const char *address)
{
    struct address a;
    bool v4, known = address_read(address, strlen(address), &a, &v4);
    for (const char *p = allow != NULL ? allow : ""; *p != '\0';) {
        size_t n = strcspn(p, " ,\t\n");
        if (n > 0 && address_entry(p, n, host, known ? &a : NULL))
            return true;
        p += n;
        p += strspn(p, " ,\t\n");
    }
    return false;
}
