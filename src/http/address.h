/* Address - may a script call this host? Pure.
 *
 * A script may be told a URL by a stranger. What only this machine or its network reaches
 * (databases, metadata services, our own API) must not be a way in, so such addresses are refused
 * unless the configuration allows them. The question is asked of the address that is then connected
 * to, after the name was looked up and after every redirect: what a name means may change in
 * between. */
#ifndef KOAN_HTTP_ADDRESS_H
#define KOAN_HTTP_ADDRESS_H

#include <stdbool.h>

/* A numeric address of the public Internet. Private, loopback, link-local, shared (RFC 6598),
 * multicast and reserved ones are not, nor is an IPv6 address that carries such an IPv4 one. */
bool address_is_public(const char *address);
bool address_is_numeric(const char *host); /* not a name */
/* `allow`: entries separated by blanks or commas: "*", a host name, "*.name" (everything below it),
 * an address, a network like 10.1.0.0/16 or fd00::/8. NULL: none. */
bool address_is_allowed(const char *allow, const char *host, const char *address);

#endif
