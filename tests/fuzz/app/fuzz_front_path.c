/* SPDX-License-Identifier: Apache-2.0 */
/* The path decision alone, where a fuzzer is quick: what the gate admits below /api/v1/ stays there for the
 * laxest reader, who decodes again and again, turns backslashes, cuts parameters and resolves dots. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "app/gate/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int hex(uint8_t c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t decode_once(uint8_t *text, size_t len)
{
  size_t to = 0;
  for (size_t i = 0; i < len; i++) {
    uint8_t c = text[i];
    if (c == '%' && len - i >= 3 && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      c = (uint8_t)(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    }
    text[to++] = c == '\\' ? '/' : c;
  }
  return to;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char prefix[] = "/api/v1/";
  size_t prefix_len = sizeof prefix - 1, depth = 0;
  gate_query(data, size);
  gate_host(data, size);
  if (gate_path(data, size) != GATE_ADMIT ||
      !gate_rule(data, size, (const uint8_t *)prefix, prefix_len, true))
    return 0;
  uint8_t *text = malloc(size);
  if (text == NULL)
    abort();
  memcpy(text, data, size);
  size_t len = size;
  for (int round = 0; round < 3; round++)
    len = decode_once(text, len);
  for (size_t at = 1; at <= len;) {
    size_t end = at;
    while (end < len && text[end] != '/')
      end++;
    size_t part = at;
    while (part < end && text[part] != ';' && text[part] != '?' && text[part] != '#' && text[part] != '\0')
      part++;
    if (part != end || part == at || (part - at == 1 && text[at] == '.'))
      abort(); /* a reader could see less, or nothing, in this segment */
    if (part - at == 2 && text[at] == '.' && text[at + 1] == '.')
      abort();
    depth++;
    at = end + 1;
  }
  if (depth < 3 || memcmp(text, prefix, prefix_len) != 0)
    abort();
  free(text);
  return 0;
}
