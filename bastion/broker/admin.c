/* SPDX-License-Identifier: Apache-2.0 */
/* What the control socket offers to the people who run the bastion. */
#include <string.h>
#include <unistd.h>

#include "bastion/broker/admin.h"
#include "bastion/broker/reload.h"
#include "bastion/policy/explain.h"
#include "bastion/session/record.h"
#include "bastion/session/space.h"
#include "common/base/clock.h"
#include "common/base/count.h"
#include "common/process/walls.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { ID_PREFIX_MIN = 4 };

/* ---- sessions ---- */

static json_t *channels_json(const session_t *s)
{
  json_t *list = json_array();
  char address[ENDPOINT_TEXT_MAX];
  LIST_EACH(const channel_t, c, &s->traffic.channels, link) {
    if (c->state != CHANNEL_LIVE)
      continue;
    json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s, s:I, s:I}", "target", c->host, "port",
                                          (int)c->port, "name", c->name, "address",
                                          endpoint_format(&c->address, address), "bytes_up",
                                          (json_int_t)c->bytes_up, "bytes_down", (json_int_t)c->bytes_down));
  }
  return list;
}

static json_t *session_json(const session_t *s, uint64_t now)
{
  char source[ENDPOINT_TEXT_MAX], started[CLOCK_ISO_MAX];
  uint64_t age = now - s->times.opened_at;
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:b, s:o}", "id", s->id,
                   "user", s->who.user, "source", endpoint_format(&s->source, source), "key",
                   s->who.fingerprint, "client", s->login.client, "started",
                   clock_format_iso(started, clock_wall_ms() - age), "age_ms", (json_int_t)age, "idle_ms",
                   (json_int_t)(now - s->times.active_at), "idle_limit_ms", (json_int_t)s->limits.idle_ms,
                   "session_limit_ms", (json_int_t)s->limits.session_ms, "bytes_up",
                   (json_int_t)s->traffic.bytes_up, "bytes_down", (json_int_t)s->traffic.bytes_down, "pid",
                   s->worker.pid, "ending", s->state == STATE_ENDING, "channels", channels_json(s));
}

void admin_sessions(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  (void)peer;
  (void)body;
  json_t *list = json_array();
  uint64_t now = clock_mono_ms();
  LIST_EACH(const session_t, s, &b->sessions.list, link)
    if (s->started)
      json_array_insert_new(list, 0, session_json(s, now)); /* the list has the newest first */
  control_reply(request, json_pack("{s:b, s:o}", "ok", 1, "sessions", list));
}

/* ---- terminate ---- */

/* What a session may be chosen by: one of them. */
typedef struct choice {
  const char *id, *user, *target;
  char host[MSG_HOST_MAX]; /* of the target */
  uint16_t port;           /* 0: any */
} choice_t;

/* By the name, the address or the target as it was asked for. */
static bool has_target(const session_t *s, const choice_t *by)
{
  char address[IP_TEXT_MAX];
  LIST_EACH(const channel_t, c, &s->traffic.channels, link)
    if (c->state == CHANNEL_LIVE && (by->port == 0 || by->port == c->port) &&
        (text_equal_nocase(c->name, by->host) || text_equal_nocase(c->host, by->host) ||
         strcmp(ip_format(&c->address.ip, address), by->host) == 0))
      return true;
  return false;
}

static bool chosen(const session_t *s, const choice_t *by)
{
  if (!s->signed_in)
    return false;
  if (by->target != NULL)
    return has_target(s, by);
  return by->id != NULL ? strncmp(s->id, by->id, strlen(by->id)) == 0 : strcmp(s->who.user, by->user) == 0;
}

static void terminate_one(session_t *s, const control_peer_t *peer, const char *reason)
{
  char text[MSG_TEXT_MAX / 2], words[MSG_TEXT_MAX];
  text_printable(text, sizeof text, reason, strlen(reason));
  json_t *r = record_of(s, "terminate");
  json_object_set_new(r, "by_uid", json_integer((json_int_t)peer->uid));
  json_object_set_new(r, "text", json_string(text));
  record_append(s, r);
  log_info("session %s of %s is ended by uid %u: %s", s->id, s->who.user, (unsigned)peer->uid,
           text[0] != '\0' ? text : "no reason given");
  snprintf(words, sizeof words, "%s%s%s", reason_text(REASON_TERMINATED), text[0] != '\0' ? ": " : "", text);
  if (s->state == STATE_ENDING)
    session_cut(s); /* asked for again: no more patience with its worker */
  else
    session_end(s, REASON_TERMINATED, words);
}

/* False, and the client is told, if it is not one good choice. */
static bool take_choice(control_request_t *request, const json_t *body, choice_t *by)
{
  diag_t diag = {""};
  *by = (choice_t){.id = json_string_value(json_object_get(body, "id")),
                   .user = json_string_value(json_object_get(body, "user")),
                   .target = json_string_value(json_object_get(body, "target"))};
  if ((by->id != NULL) + (by->user != NULL) + (by->target != NULL) != 1)
    control_reply_error(request, "terminate needs one of a session's id, a user, a target");
  else if (by->id != NULL && strlen(by->id) < ID_PREFIX_MIN)
    control_reply_error(request, "'%s': at least %d characters of the session's id", by->id, ID_PREFIX_MIN);
  else if (by->target != NULL && explain_split(by->target, by->host, sizeof by->host, &by->port, &diag))
    control_reply_error(request, "%s", diag.text);
  else
    return true;
  return false;
}

void admin_terminate(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  const char *reason = json_string_value(json_object_get(body, "reason"));
  choice_t by;
  if (!take_choice(request, body, &by))
    return;
  size_t found = 0;
  LIST_EACH(const session_t, s, &b->sessions.list, link)
    found += chosen(s, &by);
  if (found == 0 || (by.id != NULL && found > 1)) {
    control_reply_error(request,
                        found > 1         ? "'%s': several sessions begin so"
                        : by.id != NULL   ? "'%s': no such session"
                        : by.user != NULL ? "'%s' has no session"
                                          : "'%s': no session has a connection to it",
                        by.id != NULL     ? by.id
                        : by.user != NULL ? by.user
                                          : by.target);
    return;
  }
  json_t *ended = json_array(), *users = json_object();
  LIST_EACH(session_t, s, &b->sessions.list, link) {
    if (!chosen(s, &by))
      continue;
    json_array_append_new(ended, json_string(s->id));
    json_object_set_new(users, s->who.user, json_true());
    terminate_one(s, peer, reason != NULL ? reason : "");
  }
  json_t *names = json_array();
  const char *user;
  json_t *value;
  json_object_foreach(users, user, value)
  {
    json_array_append_new(names, json_string(user));
  }
  json_decref(users);
  control_reply(request, json_pack("{s:b, s:o, s:o}", "ok", 1, "ended", ended, "users", names));
}

/* ---- status ---- */

static const struct {
  uint32_t bit;
  const char *name;
} wall_names[] = {
    {MSG_WALL_SECCOMP, WALL_SECCOMP},
    {MSG_WALL_NO_NEW_PRIVS, WALL_NO_NEW_PRIVS},
    {MSG_WALL_EMPTY_ROOT, "empty-root"},
    {MSG_WALL_OWN_UID, "own-uid"},
    {MSG_WALL_RLIMITS, "rlimits"},
    {MSG_WALL_LANDLOCK, WALL_LANDLOCK},
    {MSG_WALL_USER_NAMESPACE, "user-namespace"},
    {MSG_WALL_SANITIZER, "sanitizer"},
};

static json_t *walls_json(uint32_t walls)
{
  json_t *list = json_array();
  for (size_t i = 0; i < COUNT_OF(wall_names); i++)
    if ((walls & wall_names[i].bit) != 0)
      json_array_append_new(list, json_string(wall_names[i].name));
  return list;
}

static json_t *broker_walls_json(const walls_t *walls)
{
  json_t *list = json_array();
  if (walls->landlock)
    json_array_append_new(list, json_string(WALL_LANDLOCK));
  if (walls->seccomp)
    json_array_append_new(list, json_string(WALL_SECCOMP));
  return list;
}

static json_t *audit_json(broker_t *b)
{
  audit_status_t a;
  audit_status(b->host.audit, &a);
  return json_pack("{s:b, s:b, s:I, s:I, s:s, s:s, s:o}", "lost", a.lost, "writable", !a.failing, "records",
                   (json_int_t)a.written, "waiting", (json_int_t)a.waiting, "head", a.head, "file",
                   b->config->audit, "space", space_json(&b->sessions, &a));
}

/* By the rule, as the configuration calls it. */
static json_t *by_rule(const uint64_t *counts)
{
  json_t *rules = json_object();
  for (door_rule_t rule = DOOR_OPEN + 1; rule < DOOR_RULES; rule++)
    json_object_set_new(rules, door_rule_name(rule), json_integer((json_int_t)counts[rule]));
  return rules;
}

static json_int_t sum(const uint64_t *counts)
{
  json_int_t all = 0;
  for (door_rule_t rule = DOOR_OPEN + 1; rule < DOOR_RULES; rule++)
    all += (json_int_t)counts[rule];
  return all;
}

static json_t *counts_json(const broker_t *b)
{
  return json_pack("{s:I, s:I, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:I}", "accepted", (json_int_t)b->accepted,
                   "dropped", sum(b->dropped), "dropped_by", by_rule(b->dropped), "gave_way",
                   sum(b->sessions.counts.gave_way), "gave_way_by", by_rule(b->sessions.counts.gave_way),
                   "logins", (json_int_t)b->sessions.counts.logins, "login_failures",
                   (json_int_t)b->sessions.counts.login_failures, "channels",
                   (json_int_t)b->sessions.counts.channels, "channels_refused",
                   (json_int_t)b->sessions.counts.channel_refusals, "other_refused",
                   (json_int_t)b->sessions.counts.refused);
}

static json_t *listen_json(const broker_t *b)
{
  json_t *list = json_array();
  char text[ENDPOINT_TEXT_MAX];
  const endpoint_t *listen = b->config->listen.items;
  for (size_t i = 0; i < b->config->listen.count; i++)
    json_array_append_new(list, json_string(endpoint_format(&listen[i], text)));
  return list;
}

static json_t *configuration_json(const broker_t *b)
{
  json_t *r = faults_json(&b->config->faults);
  json_object_set_new(r, "reload_error",
                      b->reload_error[0] != '\0' ? json_string(b->reload_error) : json_null());
  return r;
}

static json_t *blocks_json(const broker_t *b)
{
  return json_pack("{s:I, s:b, s:s?}", "count", (json_int_t)blocks_count(b->host.blocks), "kept",
                   blocks_saved(b->host.blocks), "state", b->config->state);
}

/* Each as "ssh-ed25519 SHA256:...". */
static json_t *host_keys_json(const config_t *c)
{
  json_t *list = json_array();
  for (size_t i = 0; i < hostkeys_count(c->keys); i++) {
    const hostkey_t *key = hostkeys_get(c->keys, i);
    json_array_append_new(list, json_sprintf("%s %s", hostkey_kind(key), hostkey_fingerprint(key)));
  }
  return list;
}

void admin_status(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  (void)peer;
  (void)body;
  spawner_status_t t;
  spawner_status(b->host.spawner, &t);
  size_t sessions = 0;
  LIST_EACH(const session_t, s, &b->sessions.list, link)
    sessions += s->started;
  json_t *tmpl =
      json_pack("{s:b, s:i, s:i, s:I, s:I}", "ready", t.ready, "pid", t.pid, "living", (int)t.templates,
                "started", (json_int_t)t.started, "renewed", (json_int_t)t.renewed);
  control_reply(
      request,
      json_pack("{s:b, s:s, s:i, s:I, s:I, s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                "ok", 1, "version", SMPL_VERSION, "pid", (int)getpid(), "uid", (json_int_t)geteuid(),
                "uptime_ms", (json_int_t)(clock_mono_ms() - b->started_at), "listen", listen_json(b),
                "host_keys", host_keys_json(b->config), "algorithms", config_algorithms(b->config),
                "sessions", (json_int_t)sessions, "connections", (json_int_t)b->sessions.count, "template",
                tmpl, "broker_walls", broker_walls_json(&b->walls), "template_walls", walls_json(t.walls),
                "worker_walls", walls_json(b->sessions.worker_walls), "audit", audit_json(b), "counts",
                counts_json(b), "configuration", configuration_json(b), "blocks", blocks_json(b)));
}

/* ---- the rest ---- */

void admin_reload(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  diag_t diag = {""};
  size_t ended;
  (void)body;
  log_info("reload asked for by uid %u", (unsigned)peer->uid);
  if (reload_now(b, &ended, &diag))
    control_reply_error(request, "%s%s", diag.text,
                        b->sessions.stopping ? "" : "; the configuration before stays in force");
  else
    control_reply(request, json_pack("{s:b, s:I, s:o}", "ok", 1, "ended", (json_int_t)ended, "configuration",
                                     faults_json(&b->config->faults)));
}

static json_t *explained(const broker_t *b, const char *user, const char *host, uint16_t port)
{
  char text[MSG_TEXT_MAX];
  json_t *reply = explain_decision(b->config, user, host, port);
  if (!blocks_hold(b->host.blocks, user, "") || !json_is_true(json_object_get(reply, "ok")))
    return reply;
  snprintf(text, sizeof text, "%s may reach nothing: %s", user, reason_text(REASON_BLOCKED));
  json_object_set_new(reply, "allowed", json_false());
  json_object_set_new(reply, "reason", json_string(reason_name(REASON_BLOCKED)));
  json_object_set_new(reply, "text", json_string(text));
  json_object_set_new(reply, "grant", json_null());
  return reply;
}

void admin_explain(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  const char *user = json_string_value(json_object_get(body, "user"));
  const char *target = json_string_value(json_object_get(body, "target"));
  char host[MSG_HOST_MAX];
  uint16_t port;
  diag_t diag = {""};
  (void)peer;
  if (user == NULL || target == NULL)
    control_reply_error(request, "explain needs a user and a target");
  else if (explain_split(target, host, sizeof host, &port, &diag))
    control_reply_error(request, "%s", diag.text);
  else
    control_reply(request, explained(b, user, host, port));
}

/* ---- who may what ---- */

int admin_take(const command_set_t *commands, role_t has, const char *cmd, const admin_command_t **out,
               diag_t *diag)
{
  const void *row = NULL;
  int err = command_take(commands, has, cmd, &row, diag);
  *out = row;
  if (err || (*out)->answer != NULL)
    return err;
  *out = NULL;
  return diag_fail(diag, SMPL_ENOENT, "unknown command '%s'", cmd);
}

void admin_handle(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body)
{
  broker_t *b = ctx;
  const char *cmd = json_string_value(json_object_get(body, "cmd"));
  role_t has = roles_of(&b->config->roles, peer);
  const admin_command_t *command;
  diag_t diag = {""};
  int err = admin_take(b->commands, has, cmd, &command, &diag);
  if (err == SMPL_EDENIED) {
    log_warn("control: uid %u (role %s) may not %s", (unsigned)peer->uid, role_name(has), cmd);
    control_reply_error(request, "%s (roles in %s)", diag.text, conf_path_of(b->config->conf));
  } else if (err) {
    control_reply_error(request, "%s", diag.text);
  } else {
    command->answer(b, request, peer, body);
  }
}
