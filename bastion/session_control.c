/* smpl-control: what a client may ask inside its session. One JSON object a line; composed here, carried by the worker. */
#include <stdlib.h>
#include <string.h>

#include "bastion/broker_state.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"

enum { TEXT_MAX = 512 };

static void send_json(session_t *s, uint32_t request, uint32_t control, json_t *reply)
{
  msg_t m;
  msg_init(&m, MSG_CONTROL_REPLY, request, s->number);
  m.json.control = control;
  size_t len = reply != NULL ? json_dumpb(reply, m.json.json, MSG_JSON_MAX - 1, JSON_COMPACT) : 0;
  if (len == 0 || len > MSG_JSON_MAX - 1)
    len = (size_t)snprintf(m.json.json, MSG_JSON_MAX,
                           "{\"ok\":false,\"reason\":\"none\",\"text\":\"the answer is too long\"}");
  m.json.json[len] = '\0';
  m.json.len = (uint32_t)len;
  session_send(s, &m, -1);
  json_decref(reply);
}

/* Takes over reply; puts the question's id before the rest. */
static void answer(session_t *s, uint32_t request, uint32_t control, const json_t *id, json_t *reply)
{
  if (id != NULL && reply != NULL) {
    json_t *with_id = json_pack("{s:O}", "id", id);
    if (with_id != NULL && json_object_update(with_id, reply) == 0) {
      json_decref(reply);
      reply = with_id;
    } else {
      json_decref(with_id);
    }
  }
  send_json(s, request, control, reply);
}

static json_t *failure(const char *reason, const char *text)
{
  return json_pack("{s:b, s:s, s:s}", "ok", 0, "reason", reason, "text", text);
}

/* "config.internal:8000: no grant covers this target" */
static json_t *target_failure(const char *target, uint16_t port, reason_t reason)
{
  char shown[TEXT_MAX], text[TEXT_MAX * 2];
  text_escape(shown, sizeof shown, target, strlen(target));
  if (port != 0)
    snprintf(text, sizeof text, "%s:%u: %s", shown, port, reason_text(reason));
  else
    snprintf(text, sizeof text, "%s: %s", shown, reason_text(reason));
  return failure(reason_name(reason), text);
}

/* ---- whoami ---- */

static json_t *whoami(const session_t *s)
{
  char source[ENDPOINT_TEXT_MAX];
  json_t *groups = json_array();
  const user_conf_t *user = config_user(s->broker->config, s->user);
  for (size_t i = 0; user != NULL && i < user->groups.count; i++)
    json_array_append_new(groups, json_string(((const char *const *)user->groups.items)[i]));
  return json_pack("{s:b, s:s, s:s, s:s, s:o, s:s}", "ok", 1, "user", s->user, "key", s->fingerprint,
                   "session", s->id, "groups", groups, "source", endpoint_format(&s->source, source));
}

/* ---- why ---- */

static json_t *last_refusal(const session_t *s, const char *target, uint16_t port)
{
  char when[CLOCK_ISO_MAX];
  const refusal_t *last = channel_last_refusal(s, target, port);
  if (last == NULL)
    return json_null();
  return json_pack("{s:s, s:s, s:i, s:s}", "reason", reason_name(last->reason), "text",
                   reason_text(last->reason), "port", (int)last->port, "time",
                   clock_format_iso(when, last->at));
}

static json_t *why(const session_t *s, const char *target, uint16_t port)
{
  char name[GRANT_NAME_MAX], shown[MSG_HOST_MAX], text[TEXT_MAX * 2];
  const config_t *c = s->broker->config;
  grant_decision_t d = finder_judge(c, s->user, target, port, name);
  bool allowed = d.reason == REASON_NONE;
  text_escape(shown, sizeof shown, target, strlen(target));
  if (allowed)
    snprintf(text, sizeof text, "%s is granted to you by %s", name, config_target_text(c, &d));
  else if (port != 0)
    snprintf(text, sizeof text, "%s:%u: %s", shown, port, reason_text(d.reason));
  else
    snprintf(text, sizeof text, "%s: %s", shown, reason_text(d.reason));
  return json_pack("{s:b, s:b, s:s, s:s, s:s, s:o, s:o}", "ok", 1, "allowed", allowed, "reason",
                   reason_name(d.reason), "text", text, "name", name, "grant",
                   allowed ? json_string(config_target_text(c, &d)) : json_null(), "last",
                   last_refusal(s, target, port));
}

/* ---- resolve ---- */

static void unlink_question(question_t *q)
{
  session_t *s = q->session;
  for (question_t **at = &s->questions; *at != NULL; at = &(*at)->next) {
    if (*at != q)
      continue;
    *at = q->next;
    s->question_count--;
    return;
  }
}

static void free_question(question_t *q)
{
  finder_cancel(q->finder);
  json_decref(q->id);
  free(q);
}

static json_t *found_reply(const question_t *q, const finder_result_t *found)
{
  char host[GRANT_NAME_MAX + 1], address[IP_TEXT_MAX];
  json_t *addresses = json_array();
  for (size_t i = 0; i < found->count; i++)
    json_array_append_new(addresses, json_string(ip_format(&found->addrs[i], address)));
  snprintf(host, sizeof host, found->is_ip ? "%s" : "%s.", found->name);
  return json_pack("{s:b, s:s, s:s, s:s, s:o, s:i}", "ok", 1, "target", q->target, "name", found->name,
                   "host", host, "addresses", addresses, "port", (int)found->port);
}

static void on_found(void *ctx, const finder_result_t *found)
{
  question_t *q = ctx;
  session_t *s = q->session;
  q->finder = NULL;
  json_t *reply = found->reason == REASON_NONE ? found_reply(q, found)
                                               : target_failure(q->target, found->port, found->reason);
  answer(s, q->request, q->control, q->id, reply);
  unlink_question(q);
  free_question(q);
}

static void resolve(session_t *s, const msg_t *m, json_t *id, const char *target, uint16_t port)
{
  question_t *q = s->question_count < SESSION_CONTROLS_MAX ? calloc(1, sizeof *q) : NULL;
  if (q == NULL) {
    answer(s, m->h.request, m->json.control, id, failure("none", "too many questions at once"));
    return;
  }
  q->session = s;
  q->request = m->h.request;
  q->control = m->json.control;
  q->id = json_incref(id);
  text_escape(q->target, sizeof q->target, target, strlen(target));
  q->next = s->questions;
  s->questions = q;
  s->question_count++;
  finder_start(&s->broker->world, s->user, target, port, on_found, q, &q->finder);
}

void question_drop_all(session_t *s)
{
  for (question_t *q = s->questions, *next; q != NULL; q = next) {
    next = q->next;
    free_question(q);
  }
  s->questions = NULL;
  s->question_count = 0;
}

/* ---- a line ---- */

/* "port": absent or null is 0. False if it is something else than a port. */
static bool take_port(const json_t *body, uint16_t *port)
{
  const json_t *value = json_object_get(body, "port");
  *port = 0;
  if (value == NULL || json_is_null(value))
    return true;
  if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > UINT16_MAX)
    return false;
  *port = (uint16_t)json_integer_value(value);
  return true;
}

static void ask_target(session_t *s, const msg_t *m, const char *cmd, json_t *id, const json_t *body)
{
  const char *target = json_string_value(json_object_get(body, "target"));
  uint16_t port;
  if (target == NULL || target[0] == '\0' || strlen(target) >= MSG_HOST_MAX)
    answer(s, m->h.request, m->json.control, id,
           failure("bad-target", "\"target\" must be a name or an address"));
  else if (!take_port(body, &port))
    answer(s, m->h.request, m->json.control, id,
           failure("bad-target", "\"port\" must be a number from 1 to 65535"));
  else if (strcmp(cmd, "why") == 0)
    answer(s, m->h.request, m->json.control, id, why(s, target, port));
  else
    resolve(s, m, id, target, port);
}

void question_ask(session_t *s, const msg_t *m)
{
  json_t *body = json_loadb(m->json.json, m->json.len, JSON_REJECT_DUPLICATES, NULL);
  const char *cmd = json_string_value(json_object_get(body, "cmd"));
  json_t *id = json_object_get(body, "id");
  if (!json_is_object(body))
    answer(s, m->h.request, m->json.control, NULL, failure("none", "expected a JSON object on one line"));
  else if (cmd == NULL)
    answer(s, m->h.request, m->json.control, id,
           failure("none", "\"cmd\" is missing: whoami, resolve or why"));
  else if (strcmp(cmd, "whoami") == 0)
    answer(s, m->h.request, m->json.control, id, whoami(s));
  else if (strcmp(cmd, "resolve") == 0 || strcmp(cmd, "why") == 0)
    ask_target(s, m, cmd, id, body);
  else
    answer(s, m->h.request, m->json.control, id,
           failure("none", "unknown cmd: whoami, resolve and why are known"));
  json_decref(body);
}
