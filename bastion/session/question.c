/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/question.h"

#include <stdlib.h>
#include <string.h>

#include "bastion/session/channel.h"
#include "bastion/session/events.h"
#include "bastion/session/targets.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* One that waits for DNS. */
typedef struct question {
  list_t link;
  session_t *session;
  finder_t *finder;
  catalog_gather_t *gather;
  json_t *id;                /* echoed; NULL if none was sent */
  json_t *reply;             /* an answer that waits for the nearest name; NULL for `targets` */
  char name[GRANT_NAME_MAX]; /* the final name that was meant */
  uint32_t request;
  uint32_t control;
  char target[MSG_HOST_MAX];
} question_t;

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

static json_t *whoami(const session_t *s, size_t budget)
{
  (void)budget;
  char source[ENDPOINT_TEXT_MAX];
  json_t *groups = json_array();
  grant_subject_t subject;
  bool there = identity_subject(&s->who, session_config(s), &subject);
  for (size_t i = 0; there && i < subject.group_count; i++)
    json_array_append_new(groups, json_string(subject.groups[i]));
  return json_pack("{s:b, s:s, s:s, s:s, s:o, s:s}", "ok", 1, "user", s->who.user, "key", s->who.fingerprint,
                   "session", s->id, "groups", groups, "source", endpoint_format(&s->source, source));
}

/* ---- limits ---- */

static json_t *limits(const session_t *s, size_t budget)
{
  (void)budget;
  char started[CLOCK_ISO_MAX];
  uint64_t now = clock_mono_ms();
  const sessions_t *all = s->all;
  size_t open = 0, sessions = 0;
  LIST_EACH(const channel_t, c, &s->traffic.channels, link)
    open += c->state == CHANNEL_LIVE;
  LIST_EACH(const session_t, o, &all->list, link)
    sessions += o->signed_in && strcmp(o->who.user, s->who.user) == 0;
  return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:n}", "ok", 1, "session", s->id,
                   "started", clock_format_iso(started, clock_wall_ms() - (now - s->times.opened_at)),
                   "idle_s", (json_int_t)(s->limits.idle_ms / 1000), "session_s",
                   (json_int_t)(s->limits.session_ms / 1000), "idle_left_s",
                   (json_int_t)(events_idle_left(s, now) / 1000), "session_left_s",
                   (json_int_t)(events_session_left(s, now) / 1000), "channels_open", (json_int_t)open,
                   "channels_max", (json_int_t)all->host->world.config->limits.channels, "sessions_open",
                   (json_int_t)sessions, "sessions_max",
                   (json_int_t)all->host->world.config->limits.sessions_per_user, "keepalive_s");
}

/* ---- sessions ---- */

enum {
  SESSION_COST = 500,
  CHANNEL_COST = 250,
};

static json_t *channels_of(const session_t *s, size_t *left, bool *truncated)
{
  char address[ENDPOINT_TEXT_MAX], opened[CLOCK_ISO_MAX];
  json_t *list = json_array();
  LIST_EACH(const channel_t, c, &s->traffic.channels, link) {
    size_t cost = CHANNEL_COST + strlen(c->host) + strlen(c->name);
    if (c->state != CHANNEL_LIVE)
      continue;
    if (cost > *left) {
      *truncated = true;
      break;
    }
    *left -= cost;
    uint64_t age = clock_mono_ms() - c->opened_at;
    json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:s, s:I, s:I, s:s}", "target", c->host, "name",
                                          c->name, "port", (int)c->port, "address",
                                          endpoint_format(&c->address, address), "bytes_up",
                                          (json_int_t)c->bytes_up, "bytes_down", (json_int_t)c->bytes_down,
                                          "opened", clock_format_iso(opened, clock_wall_ms() - age)));
  }
  return list;
}

/* Of the same user, whoever of them asks. */
static json_t *sessions(const session_t *mine, size_t budget)
{
  char source[ENDPOINT_TEXT_MAX], started[CLOCK_ISO_MAX];
  size_t left = budget;
  bool truncated = false;
  json_t *list = json_array();
  LIST_EACH(const session_t, s, &mine->all->list, link) {
    if (s->state != STATE_OPEN || strcmp(s->who.user, mine->who.user) != 0)
      continue;
    if (left < SESSION_COST) {
      truncated = true;
      break;
    }
    left -= SESSION_COST;
    uint64_t age = clock_mono_ms() - s->times.opened_at;
    json_array_insert_new(list, 0,
                          json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:o}", "session", s->id,
                                    "current", s == mine, "source", endpoint_format(&s->source, source),
                                    "client", s->login.client, "key", s->who.fingerprint, "started",
                                    clock_format_iso(started, clock_wall_ms() - age), "bytes_up",
                                    (json_int_t)s->traffic.bytes_up, "bytes_down",
                                    (json_int_t)s->traffic.bytes_down, "channels",
                                    channels_of(s, &left, &truncated)));
  }
  json_t *reply = json_pack("{s:b, s:o}", "ok", 1, "sessions", list);
  if (truncated)
    json_object_set_new(reply, "truncated", json_true());
  return reply;
}

/* ---- questions that wait ---- */

static void unlink_question(question_t *q)
{
  list_remove(&q->link);
  q->session->questions.count--;
}

static void free_question(question_t *q)
{
  finder_cancel(q->finder);
  catalog_cancel(q->gather);
  json_decref(q->reply);
  json_decref(q->id);
  free(q);
}

/* NULL, and the client is told so, if too many wait. */
static question_t *new_question(session_t *s, const msg_t *m, json_t *id)
{
  question_t *q = s->questions.count < SESSION_CONTROLS_MAX ? calloc(1, sizeof *q) : NULL;
  if (q == NULL) {
    answer(s, m->h.request, m->json.control, id, failure("none", "too many questions at once"));
    return NULL;
  }
  q->session = s;
  q->request = m->h.request;
  q->control = m->json.control;
  q->id = json_incref(id);
  list_add_first(&s->questions.list, &q->link);
  s->questions.count++;
  return q;
}

/* Takes over reply. */
static void answer_question(question_t *q, json_t *reply)
{
  answer(q->session, q->request, q->control, q->id, reply);
  unlink_question(q);
  free_question(q);
}

/* ---- the nearest name ---- */

static void on_gathered(void *ctx)
{
  question_t *q = ctx;
  char nearest[GRANT_NAME_MAX];
  q->gather = NULL;
  if (targets_nearest(q->session, q->name, nearest))
    json_object_set_new(q->reply, "nearest", json_string(nearest));
  answer_question(q, json_incref(q->reply));
}

/* A refusal that a typing error would explain waits for the names there are; others go at once. Takes over
 * reply. */
static void answer_with_nearest(question_t *q, reason_t reason, const char *name, json_t *reply)
{
  if (reason != REASON_NOT_GRANTED && reason != REASON_UNKNOWN_NAME) {
    answer_question(q, reply);
    return;
  }
  q->reply = reply;
  memcpy(q->name, name, sizeof q->name);
  targets_gather(q->session, on_gathered, q, &q->gather);
}

/* ---- why ---- */

/* What is asked about. */
typedef struct about {
  const char *target;
  uint16_t port; /* 0: any */
  uint32_t nth;  /* the client's nth channel; 0: whichever */
} about_t;

static json_t *last_refusal(const session_t *s, const about_t *about)
{
  char when[CLOCK_ISO_MAX];
  const refusal_t *last = channel_last_refusal(s, about->nth, about->target, about->port);
  if (last == NULL)
    return json_null();
  return json_pack("{s:s, s:s, s:i, s:s}", "reason", reason_name(last->reason), "text",
                   reason_text(last->reason), "port", (int)last->port, "time",
                   clock_format_iso(when, last->at));
}

static json_t *why_reply(const session_t *s, const about_t *about, const grant_decision_t *d,
                         const char *name)
{
  char shown[MSG_HOST_MAX], text[TEXT_MAX * 2];
  const config_t *c = session_config(s);
  bool allowed = d->reason == REASON_NONE;
  text_escape(shown, sizeof shown, about->target, strlen(about->target));
  if (allowed)
    snprintf(text, sizeof text, "%s is granted to you by %s", name, config_target_text(c, d));
  else if (about->port != 0)
    snprintf(text, sizeof text, "%s:%u: %s", shown, about->port, reason_text(d->reason));
  else
    snprintf(text, sizeof text, "%s: %s", shown, reason_text(d->reason));
  return json_pack("{s:b, s:b, s:s, s:s, s:s, s:o, s:o}", "ok", 1, "allowed", allowed, "reason",
                   reason_name(d->reason), "text", text, "name", name, "grant",
                   allowed ? json_string(config_target_text(c, d)) : json_null(), "last",
                   last_refusal(s, about));
}

static void why(session_t *s, const msg_t *m, json_t *id, const about_t *about)
{
  char name[GRANT_NAME_MAX];
  question_t *q = new_question(s, m, id);
  if (q == NULL)
    return;
  grant_decision_t d = finder_judge(session_config(s), s->who.user, about->target, about->port, name);
  answer_with_nearest(q, d.reason, name, why_reply(s, about, &d, name));
}

/* ---- resolve ---- */

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
  q->finder = NULL;
  json_t *reply = found->reason == REASON_NONE ? found_reply(q, found)
                                               : target_failure(q->target, found->port, found->reason);
  answer_with_nearest(q, found->reason, found->name, reply);
}

static void resolve(session_t *s, const msg_t *m, json_t *id, const about_t *about)
{
  question_t *q = new_question(s, m, id);
  if (q == NULL)
    return;
  text_escape(q->target, sizeof q->target, about->target, strlen(about->target));
  finder_start(&s->host->world, s->who.user, about->target, about->port, on_found, q, &q->finder);
}

/* ---- targets ---- */

static void on_targets(void *ctx)
{
  question_t *q = ctx;
  q->gather = NULL;
  answer_question(q, targets_list(q->session, QUESTION_BUDGET));
}

static void targets(session_t *s, const msg_t *m, json_t *id, const about_t *about)
{
  (void)about;
  question_t *q = new_question(s, m, id);
  if (q != NULL)
    targets_gather(s, on_targets, q, &q->gather);
}

void question_drop_all(session_t *s)
{
  LIST_EACH(question_t, q, &s->questions.list, link) {
    unlink_question(q);
    free_question(q);
  }
}

/* ---- a line ---- */

/* A number from 1 to max; absent or null is 0. False if it is something else. */
static bool take_number(const json_t *body, const char *key, uint32_t max, uint32_t *number)
{
  const json_t *value = json_object_get(body, key);
  *number = 0;
  if (value == NULL || json_is_null(value))
    return true;
  if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > max)
    return false;
  *number = (uint32_t)json_integer_value(value);
  return true;
}

/* What is wrong with the question; NULL: nothing. */
static const char *take_about(const json_t *body, about_t *about)
{
  uint32_t port;
  about->target = json_string_value(json_object_get(body, "target"));
  if (about->target == NULL || about->target[0] == '\0' || strlen(about->target) >= MSG_HOST_MAX)
    return "\"target\" must be a name or an address";
  if (!take_number(body, "port", UINT16_MAX, &port))
    return "\"port\" must be a number from 1 to 65535";
  if (!take_number(body, "channel", UINT32_MAX, &about->nth))
    return "\"channel\" must be the number of a channel, counted from 1";
  about->port = (uint16_t)port;
  return NULL;
}

/* ---- the table ---- */

/* One of these two answers. */
typedef struct question_command {
  command_row_t row;
  json_t *(*reply)(const session_t *s, size_t budget); /* at once */
  size_t budget;                                       /* bytes that a list in the answer may have */
  /* Perhaps later. about is of the row's words; without words there is nothing in it. */
  void (*ask)(session_t *s, const msg_t *m, json_t *id, const about_t *about);
} question_command_t;

#define ABOUT "TARGET [PORT] [CHANNEL]", 1, 3, NULL

static const question_command_t rows[] = {
    {{"whoami", .role = COMMAND_ROLE_ANY, .help = "tells user, groups, key, session and source"},
     .reply = whoami},
    {{"targets", .role = COMMAND_ROLE_ANY, .help = "lists what the user's grants name"}, .ask = targets},
    {{"resolve", ABOUT, COMMAND_ROLE_ANY, .help = "looks up a target: what to ask for in a channel"},
     .ask = resolve},
    {{"why", ABOUT, COMMAND_ROLE_ANY,
      .help = "tells whether a target is granted, and why it was refused last"},
     .ask = why},
    {{"limits", .role = COMMAND_ROLE_ANY, .help = "tells what bounds the session, and what is left of it"},
     .reply = limits},
    {{"sessions", .role = COMMAND_ROLE_ANY, .help = "lists the user's own sessions"},
     .reply = sessions,
     .budget = QUESTION_BUDGET},
};

const command_set_t question_commands = {COMMAND_ROWS(rows), COMMAND_OPEN};

static void run(session_t *s, const msg_t *m, const question_command_t *command, json_t *id,
                const json_t *body)
{
  about_t about = {.target = NULL};
  const char *fault = command->row.max > 0 ? take_about(body, &about) : NULL;
  if (fault != NULL)
    answer(s, m->h.request, m->json.control, id, failure("bad-target", fault));
  else if (command->reply != NULL)
    answer(s, m->h.request, m->json.control, id, command->reply(s, command->budget));
  else
    command->ask(s, m, id, &about);
}

void question_ask(session_t *s, const msg_t *m)
{
  json_t *body = json_loadb(m->json.json, m->json.len, JSON_REJECT_DUPLICATES, NULL);
  const char *cmd = json_string_value(json_object_get(body, "cmd"));
  json_t *id = json_object_get(body, "id");
  const void *row;
  diag_t diag = {""};
  if (!rate_take(&s->questions.rate, SESSION_QUESTION_BURST, SESSION_QUESTION_PER_SECOND, clock_mono_ms()))
    answer(s, m->h.request, m->json.control, id, failure("none", "too many questions at once"));
  else if (!json_is_object(body))
    answer(s, m->h.request, m->json.control, NULL, failure("none", "expected a JSON object on one line"));
  else if (command_take(&question_commands, COMMAND_ROLE_ANY, cmd, &row, &diag))
    answer(s, m->h.request, m->json.control, id, failure("none", diag.text));
  else
    run(s, m, row, id, body);
  json_decref(body);
}
