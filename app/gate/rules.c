/* SPDX-License-Identifier: Apache-2.0 */
#include "app/gate/rules.h"

#include <string.h>

#include "app/gate/gate.h"
#include "common/base/error.h"

int rule_parse(const char *text, rule_t *out)
{
  size_t len = strlen(text);
  bool open = len >= 2 && text[len - 2] == '/' && text[len - 1] == '*';
  size_t prefix = open ? len - 1 : len;
  if (len > LIMIT_RULE || (open && prefix == 2) || memchr(text, '*', prefix) != NULL)
    return SMPL_EINVAL;
  /* "/api/v1/" is judged without its final slash, "/" as it is. */
  size_t judged = open && prefix > 1 ? prefix - 1 : prefix;
  if (gate_path((const uint8_t *)text, judged) != GATE_ADMIT)
    return SMPL_EINVAL;
  *out = (rule_t){.text = text, .prefix_len = prefix, .open = open};
  return SMPL_OK;
}

bool rule_match(const rule_t *rule, const uint8_t *path, size_t len)
{
  return gate_rule(path, len, (const uint8_t *)rule->text, rule->prefix_len, rule->open);
}

/* Bytes up to the next '/' or the end. */
static size_t segment_len(const char *s, size_t left)
{
  size_t n = 0;
  while (n < left && s[n] != '/')
    n++;
  return n;
}

bool rule_admits_pattern(const rule_t *rule, const char *pattern)
{
  size_t rule_at = 1, pattern_at = 1;
  size_t pattern_len = strlen(pattern);
  if (rule->open && rule->prefix_len == 1)
    return true;
  for (;;) {
    size_t r = segment_len(rule->text + rule_at, rule->prefix_len - rule_at);
    size_t p = segment_len(pattern + pattern_at, pattern_len - pattern_at);
    bool parameter = p > 0 && pattern[pattern_at] == '{';
    if (!parameter && (r != p || memcmp(rule->text + rule_at, pattern + pattern_at, r) != 0))
      return false;
    rule_at += r;
    pattern_at += p;
    if (rule_at == rule->prefix_len || pattern_at == pattern_len)
      return rule_at == rule->prefix_len && pattern_at == pattern_len && !rule->open;
    rule_at++;
    pattern_at++;
    if (rule->open && rule_at == rule->prefix_len)
      return true; /* the pattern has at least one segment more: that is what the star stands for */
  }
}
