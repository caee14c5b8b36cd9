/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of request heads and of Host, on any bytes. What it takes is looked at again by naive means. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/net/http_head.h"

static void within(const char *data, size_t len, http_text_t text)
{
  if (text.at < data || text.at + text.len > data + len)
    abort();
}

/* Lines that anybody could take for a Host. */
static size_t host_lines(const char *data, size_t len)
{
  size_t count = 0;
  for (size_t i = 0; i + 6 < len; i++)
    count += data[i] == '\n' && strncasecmp(data + i + 1, "host:", 5) == 0;
  return count;
}

static void check_host(http_text_t host)
{
  http_text_t name;
  uint16_t port;
  ip_t ip;
  if (http_host_split(host, &name, &port))
    return;
  within(host.at, host.len, name);
  if (name.len == 0 || (port != 0 && host.len < name.len + 2))
    abort();
  if (http_host_address(name, &ip) && http_host_same(name, "localhost"))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  const char *data = (const char *)bytes;
  http_head_t head;
  size_t len = http_head_end(data, size);
  if (len == 0 || http_head_read(data, len, &head))
    return 0;
  within(data, len, head.method);
  within(data, len, head.target);
  if (memchr(data, '\0', len) != NULL || host_lines(data, len) != (head.has_host ? 1 : 0))
    abort();
  if (head.has_host) {
    within(data, len, head.host);
    check_host(head.host);
  }
  return 0;
}
