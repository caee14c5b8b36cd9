/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bastion/broker/broker_state.h"
#include "bastion/session/verify.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* ---- records ---- */

json_t *session_record(const session_t *s, const char *event)
{
  char source[ENDPOINT_TEXT_MAX];
  endpoint_format(&s->source, source);
  return json_pack("{s:s, s:s, s:s*, s:s}", "event", event, "session", s->id, "user",
                   s->user[0] != '\0' ? s->user : NULL, "source", source);
}

int session_write(session_t *s, json_t *record, bool lazy, audit_cb cb, void *ctx)
{
  size_t bytes;
  int err = audit_append_sized(s->broker->audit, record, lazy, cb, ctx, &bytes);
  if (s->signed_in)
    usage_wrote(s->broker->usage, s->user, bytes, clock_mono_ms());
  return err;
}

void session_append(session_t *s, json_t *record)
{
  if (session_write(s, record, false, NULL, NULL))
    log_error("session %s: an audit record is lost", s->id);
}

/* ---- refusals, which others may cause by the million ---- */

bool session_append_refusal(session_t *s, json_t *record, const char *event, const char *what, uint16_t port,
                            reason_t reason)
{
  uint64_t now = clock_mono_ms();
  broker_t *b = s->broker;
  /* What is left of a disk that is nearly full is not for strangers: all of them are told of together. */
  bool together = usage_is_low(b->usage) && !s->signed_in;
  repeats_t *source = together ? &b->repeats.others.repeats : repeats_of(&b->repeats, &s->source.ip, now);
  bool singly = !together && repeats_allow(source, now);
  if (s->signed_in)
    singly = repeats_allow(&s->repeats, now) && singly;
  if (singly || reason == REASON_WORKER_MISBEHAVED) {
    session_append(s, record);
    return true;
  }
  json_decref(record);
  repeats_count(s->signed_in ? &s->repeats : source, event, s->signed_in ? what : "", port, reason, now);
  return false;
}

static void set_repeat(json_t *r, const repeat_t *kind)
{
  json_object_set_new(r, "reason", json_string(reason_name(kind->reason)));
  json_object_set_new(r, "repeated", json_integer((json_int_t)kind->count));
}

static void tell_of_session(void *ctx, const repeat_t *kind)
{
  session_t *s = ctx;
  json_t *r = session_record(s, kind->event);
  if (kind->what[0] != '\0')
    json_object_set_new(r, strcmp(kind->event, "channel-refused") == 0 ? "target" : "what",
                        json_string(kind->what));
  if (kind->port != 0)
    json_object_set_new(r, "port", json_integer(kind->port));
  set_repeat(r, kind);
  session_append(s, r);
  log_info("session %s: %llu more refused: %s", s->id, (unsigned long long)kind->count,
           reason_name(kind->reason));
}

typedef struct tell {
  broker_t *broker;
  const repeats_source_t *source;
} tell_t;

static void tell_of_source(void *ctx, const repeat_t *kind)
{
  const tell_t *tell = ctx;
  char text[SOURCE_TEXT_MAX] = "others";
  ip_net_t network = source_network(&tell->source->source);
  if (tell->source->network)
    ip_net_format(&network, text);
  else if (tell->source->used)
    source_format(&tell->source->source, text);
  json_t *r = json_pack("{s:s, s:s}", "event", kind->event, "source", text);
  set_repeat(r, kind);
  audit_append(tell->broker->audit, r, NULL, NULL);
  log_info("%llu more refused from %s: %s", (unsigned long long)kind->count, text, reason_name(kind->reason));
}

static void tell_source(broker_t *b, repeats_source_t *source, uint64_t now, bool all)
{
  if (all || repeats_due(&source->repeats, now))
    repeats_flush(&source->repeats, tell_of_source, &(tell_t){b, source});
}

void session_tell_repeats(broker_t *b, bool all)
{
  uint64_t now = clock_mono_ms();
  for (session_t *s = b->sessions; s != NULL; s = s->next)
    if (all || repeats_due(&s->repeats, now))
      repeats_flush(&s->repeats, tell_of_session, s);
  for (size_t i = 0; i < REPEATS_SOURCES; i++)
    tell_source(b, &b->repeats.sources[i], now, all);
  tell_source(b, &b->repeats.others, now, all);
}

/* ---- registry ---- */

session_t *session_by_number(broker_t *b, uint64_t number)
{
  for (session_t *s = b->sessions; s != NULL; s = s->next)
    if (s->number == number)
      return s;
  return NULL;
}

static void link_session(session_t *s)
{
  broker_t *b = s->broker;
  s->next = b->sessions;
  if (s->next != NULL)
    s->next->prev = s;
  b->sessions = s;
  b->connections++;
}

static void unlink_session(session_t *s)
{
  broker_t *b = s->broker;
  if (s->prev != NULL)
    s->prev->next = s->next;
  else
    b->sessions = s->next;
  if (s->next != NULL)
    s->next->prev = s->prev;
  b->connections--;
}

void session_free_if_done(session_t *s)
{
  if (!s->finished || s->holds > 0)
    return;
  hostkeys_free(s->keys);
  free(s);
}

int session_send(session_t *s, const msg_t *m, int fd)
{
  if (s->peer == NULL || s->gone || s->cut)
    return SMPL_ECLOSED;
  int err = peer_send(s->peer, m, fd);
  if (err == SMPL_ELIMIT)
    session_misbehaved(s, "does not read what it asked for");
  return err;
}

/* ---- the end ---- */

/* What a connection that never signed in is worth telling; somebody who looks and leaves is not. */
static bool failed_login_worth(reason_t reason)
{
  return reason != REASON_CLIENT_CLOSED && reason != REASON_CLIENT_VANISHED && reason != REASON_SHUTDOWN;
}

static void record_end(session_t *s)
{
  if (!s->started && !failed_login_worth(s->reason))
    return;
  json_t *r = session_record(s, s->started ? "session-end" : "login-failed");
  json_object_set_new(r, "reason", json_string(reason_name(s->reason)));
  if (s->reason_text[0] != '\0' && strcmp(s->reason_text, reason_text(s->reason)) != 0)
    json_object_set_new(r, "text", json_string(s->reason_text));
  if (s->started) {
    json_object_set_new(r, "bytes_up", json_integer((json_int_t)s->bytes_up));
    json_object_set_new(r, "bytes_down", json_integer((json_int_t)s->bytes_down));
    json_object_set_new(r, "channels", json_integer((json_int_t)s->channels_opened));
    json_object_set_new(r, "duration_ms", json_integer((json_int_t)(clock_mono_ms() - s->opened_at)));
    session_append(s, r);
  } else {
    session_append_refusal(s, r, "login-failed", "", 0, s->reason);
  }
}

static void set_reason(session_t *s, reason_t reason, const char *text)
{
  s->reason = reason;
  text_copy(s->reason_text, sizeof s->reason_text,
            text != NULL && text[0] != '\0' ? text : reason_text(reason));
}

/* How the worker ended, when it did not say so itself. */
static void set_death(session_t *s)
{
  char text[96];
  if (s->exit_status >= 0 && WIFSIGNALED(s->exit_status) && WTERMSIG(s->exit_status) == SIGSYS) {
    log_error("session %s: its worker (pid %d) was killed for a system call it may not make", s->id, s->pid);
    set_reason(s, REASON_WORKER_MISBEHAVED, "made a system call that it may not make");
    return;
  }
  if (s->exit_status >= 0 && WIFSIGNALED(s->exit_status))
    snprintf(text, sizeof text, "the session's process was killed by signal %d", WTERMSIG(s->exit_status));
  else if (s->exit_status >= 0)
    snprintf(text, sizeof text, "the session's process ended with status %d", WEXITSTATUS(s->exit_status));
  else
    snprintf(text, sizeof text, "%s", reason_text(REASON_WORKER_DIED));
  log_warn("session %s: %s", s->id, text);
  set_reason(s, REASON_WORKER_DIED, text);
}

/* In ms, 0 for a connection that went without trying to sign in. */
static uint64_t penalty_of(const session_t *s)
{
  if (s->reason == REASON_WORKER_DIED || s->reason == REASON_WORKER_MISBEHAVED)
    return PENALTY_CRASH_MS;
  if (s->reason == REASON_LOGIN_GRACE && s->hash_len > 0)
    return PENALTY_GRACE_MS;
  return s->refused_keys > 0 || s->failures > 0 ? PENALTY_AUTH_MS : 0;
}

/* What the source has to wait for, for what this connection of its did. */
static void penalise(const session_t *s)
{
  broker_t *b = s->broker;
  b->misbehaved += s->reason == REASON_WORKER_MISBEHAVED;
  b->workers_died += s->reason == REASON_WORKER_DIED;
  uint64_t ms = penalty_of(s), now = clock_mono_ms();
  if (config_is_exempt(b->config, &s->source.ip))
    return;
  if (s->signed_in && (spawner_is_crash(s->exit_status) || s->reason == REASON_WORKER_MISBEHAVED))
    penalty_add_user(b->penalties, s->user, PENALTY_USER_CRASH_MS, now);
  if (s->proven || s->reason == REASON_SHUTDOWN || s->reason == REASON_AUDIT_FAILED)
    return; /* somebody known; and what happens to them is not always their doing */
  if (ms > 0)
    penalty_add(b->penalties, &s->source.ip, ms, now);
  else
    penalty_add_silent(b->penalties, &s->source.ip, &b->config->penalties.silent, now);
}

/* The end, whoever wanted it and however it came: after this nothing of the session can pass a byte or run
 * on, and its records are complete. Called by the sweep alone, and at the program's end. */
static void finish(session_t *s)
{
  s->finished = true;
  s->state = STATE_ENDING;
  door_leave(s->broker->door, &s->place);
  if (s->reason == REASON_NONE)
    set_death(s);
  channel_shut_all(s);
  shutdown(s->client, SHUT_RDWR);
  close(s->client);
  s->client = -1;
  peer_close(s->peer);
  s->peer = NULL;
  spawner_kill(s->broker->spawner, s->number); /* nobody, if its exit was reported */
  channel_give_up_all(s);
  question_drop_all(s);
  channel_finish_all(s);
  repeats_flush(&s->repeats, tell_of_session, s);
  record_end(s);
  penalise(s);
  if (s->started)
    known_mark(s->broker->known, &s->source.ip, s->user, clock_mono_ms());
  if (s->started)
    log_info("session %s of %s ended: %s", s->id, s->user, s->reason_text);
  else
    log_debug("connection %s ended: %s", s->id, s->reason_text);
  unlink_session(s);
  session_free_if_done(s);
}

/* The one way into STATE_ENDING. */
static void mark_ending(session_t *s, uint64_t patience_ms)
{
  if (s->finished)
    return;
  if (s->state != STATE_ENDING) {
    s->state = STATE_ENDING;
    s->end_by = clock_mono_ms() + patience_ms;
    door_leave(s->broker->door, &s->place);
    channel_shut_all(s);
  }
  broker_sweep_soon(s->broker);
}

void session_end(session_t *s, reason_t reason, const char *text)
{
  if (s->state == STATE_ENDING || s->finished)
    return;
  set_reason(s, reason, text);
  mark_ending(s, SESSION_END_MS);
}

void session_cut(session_t *s)
{
  s->cut = true;
  mark_ending(s, 0);
}

void session_misbehaved(session_t *s, const char *what)
{
  if (s->finished || s->gone || s->cut)
    return;
  log_error("session %s: its worker (pid %d) broke its contract: %s", s->id, s->pid, what);
  set_reason(s, REASON_WORKER_MISBEHAVED, what);
  spawner_distrust(s->broker->spawner, s->number);
  session_cut(s);
}

void session_force_all(broker_t *b)
{
  for (session_t *s = b->sessions, *next; s != NULL; s = next) {
    next = s->next;
    if (s->reason == REASON_NONE)
      set_reason(s, REASON_SHUTDOWN, NULL);
    finish(s);
  }
}

static void on_gone(void *ctx, int err)
{
  session_t *s = ctx;
  if (err == SMPL_EPROTO) {
    session_misbehaved(s, "sent what is no message of the contract");
    return;
  }
  s->gone = true;
  mark_ending(s, SESSION_EXIT_MS);
}

void session_exited(broker_t *b, uint64_t number, int status)
{
  session_t *s = session_by_number(b, number);
  if (s == NULL)
    return;
  s->exited = true;
  s->exit_status = status;
  broker_sweep_soon(b); /* what it sent last is still to be read; or the template died and it lives on */
}

void session_spawned(broker_t *b, uint64_t number, int pid)
{
  session_t *s = session_by_number(b, number);
  if (s != NULL)
    s->pid = pid;
}

/* ---- messages ---- */

/* Reasons that are a worker's to give. */
static reason_t reason_of_bye(uint32_t reason)
{
  switch (reason) {
  case REASON_CLIENT_CLOSED:
  case REASON_CLIENT_VANISHED:
  case REASON_PROTOCOL_ERROR:
  case REASON_AUTH_FAILED:
  case REASON_WORKER_DIED:
    return (reason_t)reason;
  default:
    return REASON_PROTOCOL_ERROR;
  }
}

/* Once: in STATE_ENDING a second one is ignored. */
static void on_bye(session_t *s, const msg_t *m)
{
  char text[MSG_TEXT_MAX];
  text_printable(text, sizeof text, m->text.text, strlen(m->text.text));
  set_reason(s, reason_of_bye(m->text.reason), text);
  if (s->reason == REASON_WORKER_DIED)
    log_error("session %s: its worker could not start: %s", s->id, text);
  s->bye = true;
  mark_ending(s, SESSION_END_MS);
}

/* Once: its words are a worker's, and whoever has taken one over could say them as well. */
static void on_crashed(session_t *s, const msg_t *m)
{
  if (s->crashed) {
    session_misbehaved(s, "crashed more than once");
    return;
  }
  s->crashed = true;
  log_error("session %s: %s", s->id, m->text.text);
}

/* Without these the worker is not what this program promises. */
enum { WALLS_NEEDED = MSG_WALL_SECCOMP | MSG_WALL_NO_NEW_PRIVS };

static void on_hello(session_t *s, const msg_t *m)
{
  s->walls = m->walls.walls;
  s->broker->worker_walls = s->walls;
  if ((s->walls & WALLS_NEEDED) != WALLS_NEEDED) {
    session_misbehaved(s, "stands without its walls");
    return;
  }
  s->state = STATE_KEX;
}

static void on_note(session_t *s, const msg_t *m)
{
  if (++s->notes > SESSION_NOTES_MAX) {
    session_misbehaved(s, "sends notes without end");
    return;
  }
  char what[MSG_TEXT_MAX];
  text_printable(what, sizeof what, m->text.text, strlen(m->text.text));
  json_t *r = session_record(s, "refused");
  json_object_set_new(r, "reason", json_string(reason_name((reason_t)m->text.reason)));
  json_object_set_new(r, "what", json_string(what));
  s->broker->refused++;
  if (session_append_refusal(s, r, "refused", what, 0, (reason_t)m->text.reason))
    log_info("session %s: refused %s: %s", s->id, what, reason_name((reason_t)m->text.reason));
}

static void dispatch(session_t *s, const msg_t *m, verdict_t verdict)
{
  bool refuse = verdict == VERDICT_REFUSE;
  switch ((msg_type_t)m->h.type) {
  case MSG_HELLO:
    on_hello(s, m);
    return;
  case MSG_SIGN:
    login_sign(s, m);
    return;
  case MSG_VERIFY:
    login_verify(s, m, refuse);
    return;
  case MSG_PROBE:
    login_probe(s, m, refuse);
    return;
  case MSG_LOGIN:
    login_request(s, m);
    return;
  case MSG_OPEN:
    channel_open(s, m, refuse);
    return;
  case MSG_CHANNEL_END:
    channel_end(s, m);
    return;
  case MSG_TRAFFIC:
    channel_traffic(s, m);
    return;
  case MSG_CONTROL:
    question_ask(s, m);
    return;
  case MSG_NOTE:
    on_note(s, m);
    return;
  case MSG_BYE:
    on_bye(s, m);
    return;
  case MSG_CRASHED:
    on_crashed(s, m);
    return;
  default:
    session_misbehaved(s, "sent a message that is not a worker's");
  }
}

static void on_message(void *ctx, const msg_t *m)
{
  session_t *s = ctx;
  if (s->gone || s->cut || s->finished)
    return;
  if (!rate_take(&s->message_rate, SESSION_MESSAGE_BURST, SESSION_MESSAGE_PER_SECOND, clock_mono_ms())) {
    session_misbehaved(s, "floods the broker");
    return;
  }
  verdict_t verdict =
      m->h.session == s->number ? state_verdict(s->state, (msg_type_t)m->h.type) : VERDICT_VIOLATION;
  if (verdict == VERDICT_VIOLATION) {
    char what[96];
    snprintf(what, sizeof what, "message %u in state %s", m->h.type, state_name(s->state));
    session_misbehaved(s, m->h.session == s->number ? what : "spoke for another session");
  } else if (verdict != VERDICT_IGNORE) {
    dispatch(s, m, verdict);
  }
}

/* ---- start ---- */

static void make_id(session_t *s)
{
  uint8_t bytes[8];
  if (RAND_bytes(bytes, sizeof bytes) != 1)
    memcpy(bytes, &s->number, sizeof bytes); /* an id need only be new */
  text_hex(s->id, bytes, sizeof bytes);
}

static int ask_worker(session_t *s)
{
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
    return SMPL_ESYS;
  peer_handlers_t handlers = {on_message, on_gone, s};
  int err = peer_new(s->broker->loop, pair[0], MSG_FROM_WORKER, &handlers, &s->peer);
  msg_t m;
  msg_init(&m, MSG_START, 0, s->number);
  memcpy(m.start.id, s->id, sizeof m.start.id);
  m.start.channels_max = (uint32_t)s->broker->config->limits.channels;
  m.start.auth_failures_max = SESSION_AUTH_FAILURES_MAX;
  m.start.probes_max = SESSION_PROBES_MAX;
  m.start.algorithms = s->broker->config->algorithms;
  if (!err)
    err = peer_send(s->peer, &m, -1);
  if (!err)
    err = spawner_spawn(s->broker->spawner, s->number, s->client, pair[1]);
  close(pair[1]);
  return err;
}

door_rule_t session_start(broker_t *b, int client, const endpoint_t *source)
{
  session_t *s = calloc(1, sizeof *s);
  if (s == NULL) {
    close(client);
    return DOOR_OPEN;
  }
  s->broker = b;
  s->source = *source;
  door_rule_t closed_by = session_take_place(s);
  if (closed_by != DOOR_OPEN) {
    free(s);
    return closed_by;
  }
  s->number = ++b->numbers;
  s->keys = hostkeys_share(b->config->keys);
  s->client = client;
  s->exit_status = -1;
  s->connected_at = clock_mono_ms();
  s->login_by = s->connected_at + b->config->limits.login_grace_ms;
  make_id(s);
  int err = ask_worker(s);
  if (err) {
    log_error("no worker for a connection: %s", smpl_strerror(err));
    door_leave(b->door, &s->place);
    peer_close(s->peer);
    close(client);
    hostkeys_free(s->keys);
    free(s);
    return DOOR_OPEN;
  }
  link_session(s);
  return DOOR_OPEN;
}

/* ---- deadlines ---- */

static void end_idle(session_t *s)
{
  char time[32], text[MSG_TEXT_MAX];
  snprintf(text, sizeof text, "no bytes were forwarded for %s, the grant's idle time",
           text_format_duration(time, sizeof time, s->idle_ms));
  session_end(s, REASON_IDLE, text);
}

static void end_long(session_t *s)
{
  char time[32], text[MSG_TEXT_MAX];
  snprintf(text, sizeof text, "the grant's session time of %s is over",
           text_format_duration(time, sizeof time, s->session_ms));
  session_end(s, REASON_SESSION_LIMIT, text);
}

/* Another grant, or hours that follow, may go on with it. Whether it does so within that grant's
 * max_sessions, the sweep asks once all sessions are judged. */
static void judge_hours_of(session_t *s)
{
  bool had_end = s->hours_end != UINT64_MAX;
  bool granted = channel_all_granted(s);
  bool in_force = session_set_limits(s) || !had_end; /* a user without any grant has its own short time */
  s->broker->rejudged = true;
  if (!granted || !in_force)
    session_end(s, REASON_OUTSIDE_HOURS, "the grant's hours are over");
}

static void tell_end(session_t *s)
{
  events_ending(s);
  msg_t m;
  msg_init(&m, MSG_END, 0, s->number);
  m.text.reason = s->reason;
  text_copy(m.text.text, sizeof m.text.text, s->reason_text);
  session_send(s, &m, -1);
}

/* A worker that has gone is waited for only to learn how it ended, where it did not say why itself. */
static void sweep_ending(session_t *s, uint64_t now)
{
  if (!s->swept) {
    s->swept = true;
    channel_give_up_all(s);
    question_drop_all(s);
    if (!s->bye)
      tell_end(s);
  }
  bool known = s->reason != REASON_NONE || s->exited;
  if (s->cut || (s->gone && known) || now >= s->end_by)
    finish(s);
}

static void sweep_one(session_t *s, uint64_t now)
{
  if (s->state == STATE_ENDING) {
    sweep_ending(s, now);
  } else if (s->broker->stopping && (s->channel_count == 0 || now >= s->broker->drained_by)) {
    session_end(s, REASON_SHUTDOWN, NULL);
  } else if (s->state != STATE_OPEN) {
    if (now >= s->login_by)
      session_end(s, REASON_LOGIN_GRACE, NULL);
  } else if (now - s->opened_at >= s->session_ms) {
    end_long(s);
  } else if (now >= s->hours_end) {
    judge_hours_of(s);
  } else if (now - s->active_at >= s->idle_ms) {
    end_idle(s);
  } else {
    events_warn(s, now);
  }
}

static reason_t judge_key(const session_t *s);
static size_t judge_limits(broker_t *b, reason_t reason, const char *text);

static bool any_hours(const config_t *c)
{
  for (size_t g = 0; g < config_grant_count(c); g++)
    if (c->grants[g].hour_count > 0)
      return true;
  return false;
}

/* Each minute, so that a clock that is set is followed. Also those that hours do not end: another grant may
 * count now for their connections, with limits of its own. */
static void judge_hours(broker_t *b)
{
  unsigned minute = hours_now(NULL);
  if (minute == b->minute)
    return;
  b->minute = minute;
  bool hours = any_hours(b->config);
  for (session_t *s = b->sessions; s != NULL; s = s->next) {
    if (s->state == STATE_OPEN && judge_key(s) == REASON_KEY_EXPIRED)
      session_end(s, REASON_KEY_EXPIRED, NULL);
    if (s->state == STATE_OPEN && hours)
      judge_hours_of(s);
  }
}

void session_sweep(broker_t *b)
{
  uint64_t now = clock_mono_ms();
  judge_hours(b);
  session_tell_repeats(b, false);
  for (session_t *s = b->sessions, *next; s != NULL; s = next) {
    next = s->next;
    sweep_one(s, now);
  }
  if (b->rejudged) {
    b->rejudged = false;
    judge_limits(b, REASON_TOO_MANY_SESSIONS, NULL);
  }
}

/* ---- limits and policy ---- */

static void merge_limits(session_t *s, const grant_t *g, uint64_t hours_end, bool strictest, bool first)
{
  if (first || (strictest ? hours_end < s->hours_end : hours_end > s->hours_end))
    s->hours_end = hours_end;
  if (first || (strictest ? g->idle_ms < s->idle_ms : g->idle_ms > s->idle_ms))
    s->idle_ms = g->idle_ms;
  if (first || (strictest ? g->session_ms < s->session_ms : g->session_ms > s->session_ms))
    s->session_ms = g->session_ms;
}

/* The strictest of the grants that open connections use; while none is open, the most generous of the user's
 * that are in force. */
bool session_set_limits(session_t *s)
{
  if (s->state == STATE_ENDING)
    return false;
  const config_t *c = s->broker->config;
  bool first = true;
  for (const channel_t *ch = s->channels; ch != NULL; ch = ch->next) {
    if (ch->state == CHANNEL_OPENING)
      continue;
    merge_limits(s, &c->grants[ch->grant], ch->hours_end, true, first);
    first = false;
  }
  const user_conf_t *user = config_user(c, s->user);
  if (!first || user == NULL)
    return !first;
  grant_subject_t subject = config_subject(user);
  s->idle_ms = s->session_ms = SESSION_UNGRANTED_MS;
  s->hours_end = UINT64_MAX;
  for (size_t g = 0; g < config_grant_count(c); g++) {
    uint64_t hours_end = grant_covers_subject(&c->grants[g], &subject) ? finder_hours_end(&c->grants[g]) : 0;
    if (hours_end == 0)
      continue;
    merge_limits(s, &c->grants[g], hours_end, false, first);
    first = false;
  }
  return !first;
}

/* The key that signed in, and whether it still may. */
static reason_t judge_key(const session_t *s)
{
  const user_conf_t *user = config_user(s->broker->config, s->user);
  const authkey_t *key =
      user != NULL ? authkeys_find(&user->keys, s->verified_key, s->verified_key_len) : NULL;
  return key != NULL ? verify_usable(key, &s->source.ip, clock_wall_ms() / 1000) : REASON_UNKNOWN_KEY;
}

/* The user, the key that signed in, and every open connection must still be allowed. */
static bool still_granted(session_t *s)
{
  return judge_key(s) == REASON_NONE && channel_all_granted(s);
}

/* Once all connections are judged anew, and know the numbers of their grants: ends sessions above
 * max_sessions, the newest first. */
static size_t judge_limits(broker_t *b, reason_t reason, const char *text)
{
  size_t ended = 0;
  for (session_t *s = b->sessions; s != NULL; s = s->next) {
    if (s->state != STATE_OPEN || !channel_over_limit(s))
      continue;
    session_end(s, reason, text);
    ended++;
  }
  return ended;
}

size_t session_judge_all(broker_t *b)
{
  size_t ended = 0;
  for (session_t *s = b->sessions; s != NULL; s = s->next) {
    if (!s->signed_in || s->state == STATE_ENDING)
      continue;
    if (still_granted(s)) {
      session_set_limits(s);
      continue;
    }
    session_end(s, REASON_POLICY_CHANGED, NULL);
    ended++;
  }
  return ended + judge_limits(b, REASON_POLICY_CHANGED, NULL);
}
