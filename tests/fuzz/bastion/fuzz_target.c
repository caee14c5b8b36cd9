/* SPDX-License-Identifier: Apache-2.0 */
/* Targets as clients write them and patterns of grants: one grammar, names in one form. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/policy/explain.h"
#include "bastion/policy/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char text[1024], host[256], under[GRANT_NAME_MAX];
  grant_pattern_t pattern;
  target_t target, again;
  uint16_t port;
  if (size >= sizeof text)
    return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  grant_pattern_parse((const char *)data, size, &pattern);
  explain_split(text, host, sizeof host, &port, NULL);
  if (target_parse(text, &target) != 0 || target.is_ip)
    return 0;
  if (target_under(&target, "smplkit.local", under) == 0 &&
      (!target_in_domain(under, "smplkit.local") || target_parse(under, &again) != 0 ||
       strcmp(again.name, under) != 0))
    abort();
  return 0;
}
