/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/source.h"

#include <string.h>

enum { NETWORK_BYTES = 8 };

ip_t source_of(const ip_t *address)
{
  ip_t source = *address;
  if (!ip_is_v4(address))
    memset(source.b + NETWORK_BYTES, 0, sizeof source.b - NETWORK_BYTES);
  return source;
}

bool source_same(const ip_t *a, const ip_t *b)
{
  ip_t x = source_of(a), y = source_of(b);
  return ip_equal(&x, &y);
}

ip_net_t source_network(const ip_t *address)
{
  enum { V4_BYTES = 15, V6_BYTES = 6 };
  size_t bytes = ip_is_v4(address) ? V4_BYTES : V6_BYTES;
  ip_net_t net = {.prefix = (uint8_t)(bytes * 8)};
  memcpy(net.base.b, address->b, bytes);
  return net;
}

char *source_format(const ip_t *source, char *buf)
{
  ip_net_t net = {source_of(source), NETWORK_BYTES * 8};
  return ip_is_v4(source) ? ip_format(source, buf) : ip_net_format(&net, buf);
}
