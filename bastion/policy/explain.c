/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/explain.h"

#include <stdio.h>
#include <string.h>

#include "bastion/policy/finder.h"
#include "common/base/error.h"
#include "common/base/text.h"

enum { LINE_MAX_LEN = 1024 };

int explain_split(const char *text, char *host, size_t cap, uint16_t *port, diag_t *diag)
{
  const char *colon = strrchr(text, ':');
  bool bracket = text[0] == '[';
  ip_t ip;
  uint64_t number;
  *port = 0;
  if (!bracket && ip_parse(text, &ip) == SMPL_OK)
    colon = NULL; /* a bare IPv6 address */
  if (bracket && (colon == NULL || colon[-1] != ']'))
    colon = NULL;
  if (colon != NULL) {
    if (strlen(colon + 1) > 5 || text_parse_u64(colon + 1, strlen(colon + 1), UINT16_MAX, &number) ||
        number == 0)
      return diag_fail(diag, SMPL_EINVAL, "'%s': expected a port from 1 to 65535 after the last colon", text);
    *port = (uint16_t)number;
  }
  size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
  if (bracket && (len < 2 || text[len - 1] != ']'))
    return diag_fail(diag, SMPL_EINVAL, "'%s': the bracket is not closed", text);
  if (bracket) {
    text++;
    len -= 2;
  }
  if (len == 0 || len >= cap)
    return diag_fail(diag, SMPL_EINVAL, "expected TARGET or TARGET:PORT, such as config.internal:8000");
  memcpy(host, text, len);
  host[len] = '\0';
  return SMPL_OK;
}

static json_t *grant_json(const config_t *c, const grant_decision_t *d)
{
  char place[512], net[IP_NET_TEXT_MAX], idle[32], session[32], hours[CONFIG_HOURS_TEXT_MAX];
  const char *description = config_grant_description(c, d->grant);
  const grant_t *g = &c->grants[d->grant];
  json_t *networks = json_array();
  for (size_t i = 0; i < g->network_count; i++)
    json_array_append_new(networks, json_string(ip_net_format(&g->networks[i], net)));
  config_grant_hours(c, d->grant, hours);
  return json_pack("{s:i, s:s, s:s, s:s?, s:o, s:s, s:s, s:s?, s:o}", "number", (int)d->grant + 1, "place",
                   config_grant_place(c, d->grant, place, sizeof place), "target", config_target_text(c, d),
                   "description", description, "networks", networks, "idle",
                   text_format_duration(idle, sizeof idle, g->idle_ms), "session",
                   text_format_duration(session, sizeof session, g->session_ms), "hours",
                   hours[0] != '\0' ? hours : NULL, "max_sessions",
                   g->max_sessions > 0 ? json_integer((json_int_t)g->max_sessions) : json_null());
}

static void decision_text(char *text, size_t cap, const char *user, const char *host, uint16_t port,
                          const char *name, reason_t reason)
{
  char shown[LINE_MAX_LEN / 2], at[16] = "";
  text_escape(shown, sizeof shown, host, strlen(host));
  if (port != 0)
    snprintf(at, sizeof at, " port %u", port);
  if (reason == REASON_NONE)
    snprintf(text, cap, "%s may reach %s%s", user, name, at);
  else
    snprintf(text, cap, "%s may not reach %s%s: %s", user, name[0] != '\0' ? name : shown, at,
             reason_text(reason));
}

json_t *explain_decision(const config_t *c, const char *user, const char *host, uint16_t port)
{
  char text[LINE_MAX_LEN], name[GRANT_NAME_MAX], shown[64];
  if (config_user(c, user) == NULL) {
    text_escape(shown, sizeof shown, user, strlen(user));
    snprintf(text, sizeof text, "there is no user '%s' in %s", shown, conf_path_of(c->conf));
    return json_pack("{s:b, s:s}", "ok", 0, "error", text);
  }
  grant_decision_t d = finder_judge(c, user, host, port, name);
  bool allowed = d.reason == REASON_NONE;
  decision_text(text, sizeof text, user, host, port, name, d.reason);
  bool near = d.reason == REASON_PORT_NOT_GRANTED || d.reason == REASON_OUTSIDE_HOURS ||
              d.reason == REASON_ADDRESS_NOT_GRANTED;
  return json_pack("{s:b, s:b, s:s, s:s, s:s, s:i, s:s, s:o, s:o}", "ok", 1, "allowed", allowed, "user", user,
                   "reason", reason_name(d.reason), "name", name, "port", (int)port, "text", text, "grant",
                   allowed ? grant_json(c, &d) : json_null(), "nearest",
                   near ? grant_json(c, &d) : json_null());
}

bool explain_print(const json_t *decision)
{
  bool allowed = json_is_true(json_object_get(decision, "allowed"));
  printf("%s: %s\n", allowed ? "allowed" : "denied", json_string_value(json_object_get(decision, "text")));
  const json_t *grant = json_object_get(decision, allowed ? "grant" : "nearest");
  if (!json_is_object(grant))
    return allowed;
  printf("  %s grant %lld (%s), target %s\n", allowed ? "by" : "nearest to it is",
         (long long)json_integer_value(json_object_get(grant, "number")),
         json_string_value(json_object_get(grant, "place")),
         json_string_value(json_object_get(grant, "target")));
  const char *description = json_string_value(json_object_get(grant, "description"));
  if (description != NULL)
    printf("  described as: %s\n", description);
  printf("  every address of it must lie in");
  size_t i;
  const json_t *net;
  json_array_foreach(json_object_get(grant, "networks"), i, net)
  {
    printf("%s %s", i > 0 ? "," : "", json_string_value(net));
  }
  printf("\n  idle %s, session %s", json_string_value(json_object_get(grant, "idle")),
         json_string_value(json_object_get(grant, "session")));
  const json_t *most = json_object_get(grant, "max_sessions");
  if (json_is_integer(most))
    printf(", at most %lld sessions of one user at once", (long long)json_integer_value(most));
  const char *hours = json_string_value(json_object_get(grant, "hours"));
  printf("\n  in force %s%s\n", hours != NULL ? "in these hours: " : "at any hour",
         hours != NULL ? hours : "");
  return allowed;
}
