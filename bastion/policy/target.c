/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/target.h"

#include <stdio.h>
#include <string.h>

#include "common/base/error.h"

int target_parse(const char *text, target_t *out)
{
  memset(out, 0, sizeof *out);
  if (ip_parse(text, &out->ip) == SMPL_OK) {
    if (strchr(text, ':') != NULL && ip_is_v4(&out->ip))
      return SMPL_EINVAL;
    out->is_ip = true;
    return SMPL_OK;
  }
  size_t len = strlen(text);
  if (len > GRANT_NAME_MAX)
    return SMPL_ELIMIT;
  /* A pattern without wildcard is checked as a name is: one grammar for both sides of the comparison. */
  grant_pattern_t as_pattern;
  char with_port[GRANT_NAME_MAX + 3];
  snprintf(with_port, sizeof with_port, "%s:*", text);
  int err = grant_pattern_parse(with_port, len + 2, &as_pattern);
  if (err)
    return err;
  if (as_pattern.is_ip || as_pattern.wild != GRANT_WILD_NONE)
    return SMPL_EINVAL;
  memcpy(out->name, as_pattern.suffix, sizeof out->name);
  out->final = text[len - 1] == '.';
  return SMPL_OK;
}

bool target_of_wire(const dns_name_t *wire, char *out)
{
  char text[DNS_NAME_TEXT_MAX];
  target_t t;
  if (target_parse(dns_name_to_text(wire, text), &t) || t.is_ip)
    return false;
  memcpy(out, t.name, GRANT_NAME_MAX);
  return true;
}

bool target_in_domain(const char *name, const char *domain)
{
  size_t name_len = strlen(name);
  size_t domain_len = strlen(domain);
  if (name_len < domain_len || strcmp(name + name_len - domain_len, domain) != 0)
    return false;
  return name_len == domain_len || name[name_len - domain_len - 1] == '.';
}

int target_under(const target_t *target, const char *domain, char *out)
{
  int n = target_in_domain(target->name, domain)
              ? snprintf(out, GRANT_NAME_MAX, "%s", target->name)
              : snprintf(out, GRANT_NAME_MAX, "%s.%s", target->name, domain);
  return n > 0 && n < GRANT_NAME_MAX ? SMPL_OK : SMPL_ELIMIT;
}
