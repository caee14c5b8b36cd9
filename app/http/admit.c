/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/admit.h"

#include <string.h>

#include "app/gate/head.h"
#include "app/gate/site.h"
#include "common/base/text.h"

static text_ref_t ref(const uint8_t *bytes, span_t span)
{
  return (text_ref_t){(const char *)bytes + span.at, span.len};
}

static bool same_nocase(const char *at, size_t len, const char *word)
{
  if (len != strlen(word))
    return false;
  for (size_t i = 0; i < len; i++)
    if (text_lower(at[i]) != word[i])
      return false;
  return true;
}

/* The first header of that lower-case name. */
static text_ref_t header(const uint8_t *bytes, const gate_head_t *head, const char *name)
{
  for (uint32_t i = 0; i < head->header_count; i++) {
    text_ref_t is = ref(bytes, head->headers[i].name);
    if (same_nocase(is.at, is.len, name))
      return ref(bytes, head->headers[i].value);
  }
  return (text_ref_t){NULL, 0};
}

static bool foreign(const uint8_t *bytes, const gate_head_t *head)
{
  site_headers_t site = {.get = head->method == GATE_GET || head->method == GATE_HEAD,
                         .host = ref(bytes, head->host)};
  for (uint32_t i = 0; i < head->header_count; i++) {
    text_ref_t name = ref(bytes, head->headers[i].name);
    text_ref_t value = ref(bytes, head->headers[i].value);
    if (same_nocase(name.at, name.len, "origin"))
      site.origin = value;
    else if (same_nocase(name.at, name.len, "sec-fetch-site"))
      site.fetch_site = value;
    else if (same_nocase(name.at, name.len, "sec-fetch-mode"))
      site.fetch_mode = value;
    else if (same_nocase(name.at, name.len, "sec-fetch-dest"))
      site.fetch_dest = value;
  }
  return site_is_foreign(&site);
}

static text_ref_t trim(text_ref_t s)
{
  while (s.len > 0 && (s.at[0] == ' ' || s.at[0] == '\t')) {
    s.at++;
    s.len--;
  }
  while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
    s.len--;
  return s;
}

/* Cuts s at the first c; *rest is what follows it, at == NULL if there is none. */
static text_ref_t cut(text_ref_t s, char c, text_ref_t *rest)
{
  const char *at = memchr(s.at, c, s.len);
  *rest = (text_ref_t){NULL, 0};
  if (at == NULL)
    return trim(s);
  *rest = (text_ref_t){at + 1, s.len - (size_t)(at - s.at) - 1};
  return trim((text_ref_t){s.at, (size_t)(at - s.at)});
}

static bool is_json_type(text_ref_t type)
{
  return same_nocase(type.at, type.len, "application/json") ||
         same_nocase(type.at, type.len, "application/vnd.api+json");
}

/* "q=0", "q=0.000": the client does not want it. */
static bool weight_is_zero(text_ref_t parameters)
{
  while (parameters.at != NULL) {
    text_ref_t one = cut(parameters, ';', &parameters);
    if (one.len < 3 || text_lower(one.at[0]) != 'q' || one.at[1] != '=')
      continue;
    for (size_t i = 2; i < one.len; i++)
      if (one.at[i] != '0' && one.at[i] != '.')
        return false;
    return true;
  }
  return false;
}

/* RFC 9110 §12.5.1: some range in the list covers JSON. */
static bool accepts_json(text_ref_t accept)
{
  if (accept.at == NULL || trim(accept).len == 0)
    return true;
  while (accept.at != NULL) {
    text_ref_t parameters;
    text_ref_t range = cut(cut(accept, ',', &accept), ';', &parameters);
    bool covers = is_json_type(range) || same_nocase(range.at, range.len, "*/*") ||
                  same_nocase(range.at, range.len, "application/*");
    if (covers && !weight_is_zero(parameters))
      return true;
  }
  return false;
}

static size_t query_count(const uint8_t *query, size_t len)
{
  size_t count = len > 0 ? 1 : 0;
  for (size_t i = 0; i < len; i++)
    count += query[i] == '&';
  return count;
}

static admit_verdict_t judge_exchange(const uint8_t *bytes, const gate_head_t *head, const route_t *route)
{
  if (route->operation_id != NULL && !accepts_json(header(bytes, head, "accept")))
    return ADMIT_ACCEPT;
  if (query_count(bytes + head->query.at, head->query.len) > LIMIT_QUERY_PARAMETERS)
    return ADMIT_QUERY_COUNT;
  if (head->length > LIMIT_BODY)
    return ADMIT_BODY_SIZE;
  if (route->request_schema == NULL)
    return ADMIT_OK;
  if (head->length == 0)
    return ADMIT_BODY_MISSING;
  text_ref_t type = header(bytes, head, "content-type");
  text_ref_t parameters;
  if (type.at == NULL || !is_json_type(cut(type, ';', &parameters)))
    return ADMIT_MEDIA_TYPE;
  return ADMIT_OK;
}

/* HEAD is looked up as GET. False for methods that no route can have. */
static bool route_method(gate_method_t method, method_t *out)
{
  switch (method) {
  case GATE_GET:
  case GATE_HEAD:
    *out = METHOD_GET;
    return true;
  case GATE_POST:
    *out = METHOD_POST;
    return true;
  case GATE_PUT:
    *out = METHOD_PUT;
    return true;
  case GATE_DELETE:
    *out = METHOD_DELETE;
    return true;
  default:
    return false;
  }
}

static const rule_t *first_rule(const admit_conf_t *conf, const uint8_t *path, size_t len)
{
  for (size_t i = 0; i < conf->rule_count; i++)
    if (rule_match(&conf->rules[i], path, len))
      return &conf->rules[i];
  return NULL;
}

static admit_verdict_t decide(const admit_conf_t *conf, const uint8_t *bytes, const gate_head_t *head,
                              admit_t *out)
{
  const uint8_t *path = bytes + head->path.at;
  if ((conf->internal || conf->host_count > 0) &&
      !site_host_known(ref(bytes, head->host), conf->hosts, conf->host_count, conf->own_address))
    return ADMIT_HOST_UNKNOWN;
  if (conf->internal && foreign(bytes, head))
    return ADMIT_CROSS_SITE;
  out->rule = first_rule(conf, path, head->path.len);
  if (out->rule == NULL)
    return ADMIT_NO_RULE;
  method_t method = METHOD_GET;
  bool routable = route_method(head->method, &method);
  router_find(conf->router, path, head->path.len, method, &out->match);
  if (out->match.allowed == 0)
    return ADMIT_NO_ROUTE;
  if (!routable || out->match.route == NULL) {
    out->match.route = NULL;
    return ADMIT_METHOD;
  }
  return judge_exchange(bytes, head, out->match.route);
}

void admit_decide(const admit_conf_t *conf, const uint8_t *bytes, size_t len, gate_head_t *head, admit_t *out)
{
  *out = (admit_t){.verdict = ADMIT_GATE};
  out->gate = head_read(bytes, len, head, &out->keep_alive);
  if (out->gate == GATE_ADMIT)
    out->verdict = decide(conf, bytes, head, out);
  if (out->verdict != ADMIT_OK)
    out->match.route = NULL;
}

static const struct {
  const char *reason;
  const char *text;
  int status;
} verdicts[ADMIT_COUNT] = {
#define ADMIT_ROW(id, name, status, text) [ADMIT_##id] = {name, text, status},
    ADMIT_LIST(ADMIT_ROW)
#undef ADMIT_ROW
};

bool admit_is_plain(admit_verdict_t verdict)
{
  return verdict == ADMIT_GATE || verdict == ADMIT_NO_RULE || verdict == ADMIT_NO_ROUTE ||
         verdict == ADMIT_HOST_UNKNOWN || verdict == ADMIT_CROSS_SITE;
}

const char *admit_reason(const admit_t *admit)
{
  return admit->verdict == ADMIT_GATE ? gate_reason(admit->gate) : verdicts[admit->verdict].reason;
}

const char *admit_class(const admit_t *admit)
{
  if (admit->verdict != ADMIT_GATE)
    return "compliant";
  switch (admit->gate) {
  case GATE_ADMIT:
    return "compliant";
  case GATE_HEAD_SIZE:
  case GATE_TARGET_SIZE:
  case GATE_HEADER_COUNT:
  case GATE_TRAILING_SLASH:
    return "acceptable";
  case GATE_AUTHORITY:
  case GATE_PATH_BYTE:
  case GATE_PATH_ESCAPE:
  case GATE_PATH_UTF8:
  case GATE_EMPTY_SEGMENT:
  case GATE_DOT_SEGMENT:
  case GATE_QUERY_BYTE:
  case GATE_QUERY_ESCAPE:
  case GATE_QUERY_UTF8:
  case GATE_HEADER_NEAR_MISS:
  case GATE_TRANSFER_ENCODING:
  case GATE_UPGRADE:
  case GATE_EXPECT:
  case GATE_BODY:
    return "ambiguous";
  default:
    return "severe";
  }
}

const char *admit_text(const admit_t *admit)
{
  return admit->verdict == ADMIT_GATE ? gate_text(admit->gate) : verdicts[admit->verdict].text;
}

int admit_status(const admit_t *admit)
{
  return admit->verdict == ADMIT_GATE ? gate_status(admit->gate) : verdicts[admit->verdict].status;
}
