/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes at a public and at an internal listener, as a connection would feed them: gate, both head
 * readers, rules, hosts and router. No input may make the public one run a handler of the internal tier, nor
 * any path but one below /api/v1/ made of non-empty segments that are not dots. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "app/http/admit.h"
#include "app/program/built_in.h"
#include "app/http/forwarded.h"
#include "app/http/request.h"
#include "tests/unit/app/echo_service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static admit_conf_t make(const char *text, rule_t *rule, bool internal)
{
  static const char *const hosts[] = {"config.internal"};
  route_source_t sources[SERVICE_SOURCES];
  router_t *router = NULL;
  built_in_sources(NULL, &echo_service, NULL, sources);
  if (rule_parse(text, rule) || router_new(rule, 1, sources, SERVICE_SOURCES, &router, NULL))
    abort();
  return (admit_conf_t){.internal = internal,
                        .rules = rule,
                        .rule_count = 1,
                        .hosts = internal ? hosts : NULL,
                        .host_count = internal ? 1 : 0,
                        .own_address = "10.0.0.1",
                        .router = router};
}

static void check_path(const uint8_t *path, size_t len)
{
  static const char prefix[] = "/api/v1/";
  if (len <= sizeof prefix - 1 || memcmp(path, prefix, sizeof prefix - 1) != 0)
    abort();
  for (size_t at = 1; at <= len;) {
    const uint8_t *slash = memchr(path + at, '/', len - at);
    size_t end = slash != NULL ? (size_t)(slash - path) : len;
    if (end == at || (path[at] == '.' && (end - at == 1 || (end - at == 2 && path[at + 1] == '.'))))
      abort();
    at = end + 1;
  }
}

/* What a handler would be given. */
static void use(request_t *request, const uint8_t *head, size_t len)
{
  if (request_take_head(request, head, len))
    return;
  const route_t *route = request->admit.match.route;
  if (strstr(route->path, "{word}") != NULL && request_parameter(request, "word") == NULL)
    abort();
  for (uint32_t i = 0; i < request->head.header_count; i++)
    if (request_header(request, (const char *)request->bytes + request->head.headers[i].name.at) == NULL)
      abort();
  request_bearer(request);
  request_query(request, "a");
}

static void feed(const admit_conf_t *conf, const uint8_t *data, size_t size)
{
  size_t end = 0;
  if (gate_scan(data, size, 0, &end) != GATE_ADMIT)
    return;
  uint8_t *exact = malloc(end); /* so that reading past the head is caught */
  request_t *request = malloc(sizeof *request);
  if (exact == NULL || request == NULL)
    abort();
  memcpy(exact, data, end);
  request_init(request);
  admit_decide(conf, exact, end, &request->head, &request->admit);
  ip_t source;
  if (request->admit.verdict != ADMIT_GATE)
    forwarded_source(exact, &request->head, &source);
  const route_t *route = request->admit.match.route;
  if ((route != NULL) != (request->admit.verdict == ADMIT_OK))
    abort();
  if (route != NULL) {
    if (!conf->internal && route->tier != TIER_API)
      abort();
    if (!conf->internal)
      check_path(exact + request->head.path.at, request->head.path.len);
    use(request, exact, end);
  }
  request_clear(request);
  free(request);
  free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static rule_t public_rule, internal_rule;
  static admit_conf_t public_conf, internal_conf;
  if (public_conf.router == NULL) {
    public_conf = make("/api/v1/*", &public_rule, false);
    internal_conf = make("/*", &internal_rule, true);
  }
  feed(&public_conf, data, size);
  feed(&internal_conf, data, size);
  return 0;
}
