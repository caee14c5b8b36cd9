/* SPDX-License-Identifier: Apache-2.0 */
/* What counts as one client before anybody has signed in: an IPv4 address, an IPv6 network of 64 bits (what
 * one customer has at least, and may use any address of). Pure. */
#pragma once

#include <stdbool.h>

#include "common/base/ip.h"

enum { SOURCE_TEXT_MAX = IP_NET_TEXT_MAX };

ip_t source_of(const ip_t *address);
bool source_same(const ip_t *a, const ip_t *b);
/* The widest network of a source that one customer may have: an IPv4 /24, an IPv6 /48. */
ip_net_t source_network(const ip_t *address);
/* "192.0.2.7", "2001:db8::/64". buf of SOURCE_TEXT_MAX bytes; returns buf. */
char *source_format(const ip_t *source, char *buf);
