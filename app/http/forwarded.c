/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/forwarded.h"

#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

static bool is_forwarded_for(const uint8_t *name, size_t len)
{
  static const char word[] = "x-forwarded-for";
  if (len != sizeof word - 1)
    return false;
  for (size_t i = 0; i < len; i++)
    if (text_lower((char)name[i]) != word[i])
      return false;
  return true;
}

/* What stands behind the last comma, without white space; the gate has cut that at the value's end. */
static int last_element(const uint8_t *value, size_t len, ip_t *out)
{
  char text[IP_TEXT_MAX];
  size_t at = len;
  while (at > 0 && value[at - 1] != ',')
    at--;
  while (at < len && (value[at] == ' ' || value[at] == '\t'))
    at++;
  if (len - at >= sizeof text)
    return SMPL_EINVAL;
  memcpy(text, value + at, len - at);
  text[len - at] = '\0';
  return ip_parse(text, out);
}

int forwarded_source(const uint8_t *bytes, const gate_head_t *head, ip_t *out)
{
  for (uint32_t i = head->header_count; i > 0; i--) {
    const gate_header_t *header = &head->headers[i - 1];
    if (is_forwarded_for(bytes + header->name.at, header->name.len))
      return last_element(bytes + header->value.at, header->value.len, out);
  }
  return SMPL_ENOENT;
}
