/* SPDX-License-Identifier: Apache-2.0 */
/* IP addresses, networks and endpoints. An address is always held as 16 bytes; IPv4 lives in ::ffff:0:0/96,
 * so that a v4-mapped peer on an IPv6 socket is the IPv4 client it is. A network holds only addresses of its
 * own family: ::/0 does not contain IPv4. All functions are pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct ip {
  uint8_t b[16];
} ip_t;

typedef struct ip_net {
  ip_t base;      /* host bits are zero */
  uint8_t prefix; /* in the 128-bit form: IPv4 10.0.0.0/8 has 104 */
} ip_net_t;

typedef struct endpoint {
  ip_t ip;
  uint16_t port; /* host order */
} endpoint_t;

enum {
  IP_TEXT_MAX = INET6_ADDRSTRLEN,               /* with NUL */
  IP_NET_TEXT_MAX = IP_TEXT_MAX + 4,            /* "/128" */
  ENDPOINT_TEXT_MAX = INET6_ADDRSTRLEN + 2 + 6, /* [addr]:65535 */
};

bool ip_is_v4(const ip_t *ip);
bool ip_equal(const ip_t *a, const ip_t *b);
/* <0, 0, >0 as memcmp: the order of the 128-bit numbers. */
int ip_compare(const ip_t *a, const ip_t *b);

/* By inet_pton alone (no octal, no short forms). SMPL_EINVAL. */
int ip_parse(const char *text, ip_t *out);
/* "10.0.0.0/8", "fc00::/7", or a bare address (a network of one). SMPL_EINVAL; SMPL_ELIMIT when host bits are
 * set. */
int ip_net_parse(const char *text, ip_net_t *out);
/* "127.0.0.1:53", "[::1]:53". SMPL_EINVAL. Port 0 is allowed: callers that need one check. */
int endpoint_parse(const char *text, endpoint_t *out);

/* buf of IP_TEXT_MAX, IP_NET_TEXT_MAX, ENDPOINT_TEXT_MAX bytes. They return buf. */
char *ip_format(const ip_t *ip, char *buf);
char *ip_net_format(const ip_net_t *net, char *buf);
char *endpoint_format(const endpoint_t *ep, char *buf);

bool ip_net_contains(const ip_net_t *net, const ip_t *ip);
bool ip_net_is_v4(const ip_net_t *net);

/* RFC 1918, 100.64/10, fc00::/7 or loopback: where an internal listener may live. */
bool ip_is_private(const ip_t *ip);
bool ip_is_loopback(const ip_t *ip);
bool ip_is_unspecified(const ip_t *ip);

/* Socket addresses of AF_INET or AF_INET6. SMPL_EINVAL for another family. */
int endpoint_from_sockaddr(const struct sockaddr *sa, endpoint_t *out);
/* Fills *sa with AF_INET for IPv4 and AF_INET6 otherwise; returns its length. */
socklen_t endpoint_to_sockaddr(const endpoint_t *ep, struct sockaddr_storage *sa);
