/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/route.h"

#include <stdio.h>
#include <string.h>

void routes_init(routes_t *routes, const forward_t *forwards, size_t count)
{
  *routes = (routes_t){.count = count};
  for (size_t i = 0; i < count; i++) {
    route_t *r = &routes->items[i];
    r->forward = &forwards[i];
    r->port = r->forward->target_port;
    snprintf(r->name, sizeof r->name, "%s", r->forward->target);
    snprintf(r->host, sizeof r->host, "%s", r->forward->target);
  }
}

char *route_local_host(const route_t *r, char *buf, size_t cap)
{
  char text[IP_TEXT_MAX] = "localhost";
  if (r->forward->bind_given)
    ip_format(&r->forward->bind, text);
  snprintf(buf, cap, "%s", text);
  return buf;
}

char *route_local(const route_t *r, char *buf, size_t cap)
{
  char host[IP_TEXT_MAX];
  if (r->forward->kind == FORWARD_SOCKET) {
    snprintf(buf, cap, "%s", r->forward->path);
    return buf;
  }
  bool v6 = strchr(route_local_host(r, host, sizeof host), ':') != NULL;
  snprintf(buf, cap, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", r->local_port);
  return buf;
}

char *route_url(const route_t *r, char *buf, size_t cap)
{
  char at[FORWARD_PATH_MAX + 8];
  buf[0] = '\0';
  if (r->forward->kind != FORWARD_SOCKET)
    snprintf(buf, cap, "%s://%s", r->forward->kind == FORWARD_SOCKS ? "socks5h" : "http",
             route_local(r, at, sizeof at));
  return buf;
}

const char *route_with_port(const route_t *r, bool stdio, char *buf, size_t cap)
{
  const forward_t *f = r->forward;
  bool v6 = strchr(f->target, ':') != NULL; /* written in brackets */
  const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";
  if (stdio)
    snprintf(buf, cap, "say it, as in --stdio %s%s%s:PORT", open, f->target, close);
  else if (f->kind == FORWARD_SOCKET)
    snprintf(buf, cap, "say it, as in %s:%s%s%s:PORT", f->path, open, f->target, close);
  else
    snprintf(buf, cap, "say it, as in %u:%s%s%s:PORT", r->local_port, open, f->target, close);
  return buf;
}
