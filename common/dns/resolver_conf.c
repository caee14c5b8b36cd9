/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolver_conf.h"

#include "common/base/count.h"
#include "common/base/error.h"

static const conf_field_t fields[] = {
    {"servers", CONF_MANY, offsetof(resolver_conf_t, servers), .scalar = &conf_endpoint, .required = true,
     .most = LOOKUP_SERVERS_MAX, .doc = "DNS servers, the one to prefer first"},
    {"source", CONF_ONE, offsetof(resolver_conf_t, source), .scalar = &conf_ip,
     .doc = "the address to ask from, of the servers' family; without it the system chooses"},
};
const conf_map_t resolver_conf_map = {"resolver", sizeof(resolver_conf_t), fields, COUNT_OF(fields), NULL};

static bool same_server(const endpoint_t *a, const endpoint_t *b)
{
  return a->port == b->port && ip_equal(&a->ip, &b->ip);
}

static int check_server(const conf_t *conf, const resolver_conf_t *r, size_t at, diag_t *diag)
{
  const endpoint_t *servers = r->servers.items, *server = &servers[at];
  char text[ENDPOINT_TEXT_MAX], source[IP_TEXT_MAX];
  if (server->port == 0)
    return conf_fail(conf, diag, server, "resolver: a server's port is from 1 to 65535, got 0");
  for (size_t i = 0; i < at; i++)
    if (same_server(&servers[i], server))
      return conf_fail(conf, diag, server, "resolver: %s is there twice", endpoint_format(server, text));
  if (r->has_source && ip_is_v4(&r->source) != ip_is_v4(&server->ip))
    return conf_fail(conf, diag, server,
                     "resolver: %s cannot be asked from %s, an address of the other family",
                     endpoint_format(server, text), ip_format(&r->source, source));
  return SMPL_OK;
}

int resolver_conf_check(const conf_t *conf, resolver_conf_t *r, diag_t *diag)
{
  int err = SMPL_OK;
  r->has_source = conf_given(conf, &r->source);
  for (size_t i = 0; i < r->servers.count && !err; i++)
    err = check_server(conf, r, i, diag);
  return err;
}

bool resolver_conf_same(const resolver_conf_t *a, const resolver_conf_t *b)
{
  const endpoint_t *x = a->servers.items, *y = b->servers.items;
  bool same = a->servers.count == b->servers.count && a->has_source == b->has_source &&
              (!a->has_source || ip_equal(&a->source, &b->source));
  for (size_t i = 0; i < a->servers.count && same; i++)
    same = same_server(&x[i], &y[i]);
  return same;
}

lookup_conf_t resolver_conf_lookup(const resolver_conf_t *r)
{
  return (lookup_conf_t){.servers = r->servers.items,
                         .server_count = r->servers.count,
                         .source = r->has_source ? &r->source : NULL};
}
