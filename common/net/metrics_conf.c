/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/metrics_conf.h"

#include <string.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/net/http_head.h"

static const conf_field_t fields[] = {
    {"address", CONF_ONE, offsetof(metrics_conf_t, address), .scalar = &conf_endpoint, .required = true,
     .doc = "the address and port of GET /metrics"},
    {"hosts", CONF_MANY, offsetof(metrics_conf_t, hosts), .scalar = &conf_string, .most = METRICS_HOSTS_MAX,
     .doc = "names that a Host may have, besides the address and, on loopback, localhost"},
};
const conf_map_t metrics_conf_map = {"metrics", sizeof(metrics_conf_t), fields, COUNT_OF(fields), NULL};

static bool is_name(const char *text)
{
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
  return text[0] != '.' && text[strspn(text, allowed)] == '\0' && text[strlen(text) - 1] != '.';
}

int metrics_conf_check(const conf_t *conf, const metrics_conf_t *m, diag_t *diag)
{
  if (conf_given_map(conf, m) && m->address.port == 0)
    return conf_fail(conf, diag, &m->address, "metrics: expected a port from 1 to 65535");
  const char *const *hosts = m->hosts.items;
  for (size_t i = 0; i < m->hosts.count; i++) {
    ip_t ip;
    http_text_t text = {hosts[i], strlen(hosts[i])};
    if (!is_name(hosts[i]) && !http_host_address(text, &ip))
      return conf_fail(
          conf, diag, &hosts[i],
          "hosts: expected a name such as metrics.internal.example or an address, without a port, "
          "got '%s'",
          hosts[i]);
  }
  return SMPL_OK;
}

bool metrics_conf_same(const metrics_conf_t *a, const metrics_conf_t *b)
{
  if (a->address.port != b->address.port || !ip_equal(&a->address.ip, &b->address.ip) ||
      a->hosts.count != b->hosts.count)
    return false;
  const char *const *x = a->hosts.items;
  const char *const *y = b->hosts.items;
  for (size_t i = 0; i < a->hosts.count; i++)
    if (strcmp(x[i], y[i]) != 0)
      return false;
  return true;
}
