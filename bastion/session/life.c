/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/life.h"

#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bastion/session/channel.h"
#include "bastion/session/login.h"
#include "bastion/session/place.h"
#include "bastion/session/question.h"
#include "bastion/session/record.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* ---- the end ---- */

/* What a connection that never signed in is worth telling; somebody who looks and leaves is not. */
static bool failed_login_worth(reason_t reason)
{
  return reason != REASON_CLIENT_CLOSED && reason != REASON_CLIENT_VANISHED && reason != REASON_SHUTDOWN;
}

static void record_end(session_t *s)
{
  if (!s->started && !failed_login_worth(s->ending.reason))
    return;
  json_t *r = record_of(s, s->started ? "session-end" : "login-failed");
  json_object_set_new(r, "reason", json_string(reason_name(s->ending.reason)));
  if (s->ending.text[0] != '\0' && strcmp(s->ending.text, reason_text(s->ending.reason)) != 0)
    json_object_set_new(r, "text", json_string(s->ending.text));
  if (s->started) {
    json_object_set_new(r, "bytes_up", json_integer((json_int_t)s->traffic.bytes_up));
    json_object_set_new(r, "bytes_down", json_integer((json_int_t)s->traffic.bytes_down));
    json_object_set_new(r, "channels", json_integer((json_int_t)s->traffic.opened));
    json_object_set_new(r, "duration_ms", json_integer((json_int_t)(clock_mono_ms() - s->times.opened_at)));
    record_append(s, r);
  } else {
    record_refusal(s, r, "login-failed", "", 0, s->ending.reason);
  }
}

/* How the worker ended, when it did not say so itself. */
static void set_death(session_t *s)
{
  char text[96];
  if (s->worker.exit_status >= 0 && WIFSIGNALED(s->worker.exit_status) &&
      WTERMSIG(s->worker.exit_status) == SIGSYS) {
    log_error("session %s: its worker (pid %d) was killed for a system call it may not make", s->id,
              s->worker.pid);
    session_set_reason(s, REASON_WORKER_MISBEHAVED, "made a system call that it may not make");
    return;
  }
  if (s->worker.exit_status >= 0 && WIFSIGNALED(s->worker.exit_status))
    snprintf(text, sizeof text, "the session's process was killed by signal %d",
             WTERMSIG(s->worker.exit_status));
  else if (s->worker.exit_status >= 0)
    snprintf(text, sizeof text, "the session's process ended with status %d",
             WEXITSTATUS(s->worker.exit_status));
  else
    snprintf(text, sizeof text, "%s", reason_text(REASON_WORKER_DIED));
  log_warn("session %s: %s", s->id, text);
  session_set_reason(s, REASON_WORKER_DIED, text);
}

/* In ms, 0 for a connection that went without trying to sign in. */
static uint64_t penalty_of(const session_t *s)
{
  if (s->ending.reason == REASON_WORKER_DIED || s->ending.reason == REASON_WORKER_MISBEHAVED)
    return PENALTY_CRASH_MS;
  if (s->ending.reason == REASON_LOGIN_GRACE && s->login.hash_len > 0)
    return PENALTY_GRACE_MS;
  return s->login.refused_keys > 0 || s->login.failures > 0 ? PENALTY_AUTH_MS : 0;
}

/* What the source has to wait for, for what this connection of its did. */
static void penalise(const session_t *s)
{
  sessions_t *all = s->all;
  all->counts.misbehaved += s->ending.reason == REASON_WORKER_MISBEHAVED;
  all->counts.workers_died += s->ending.reason == REASON_WORKER_DIED;
  uint64_t ms = penalty_of(s), now = clock_mono_ms();
  if (config_is_exempt(all->host->world.config, &s->source.ip))
    return;
  if (s->signed_in &&
      (spawner_is_crash(s->worker.exit_status) || s->ending.reason == REASON_WORKER_MISBEHAVED))
    penalty_add_user(all->host->penalties, s->who.user, PENALTY_USER_CRASH_MS, now);
  if (s->login.proven || s->ending.reason == REASON_SHUTDOWN || s->ending.reason == REASON_AUDIT_FAILED)
    return; /* somebody known; and what happens to them is not always their doing */
  if (ms > 0)
    penalty_add(all->host->penalties, &s->source.ip, ms, now);
  else
    penalty_add_silent(all->host->penalties, &s->source.ip, &all->host->world.config->penalties.silent, now);
}

void life_finish(session_t *s)
{
  s->ending.finished = true;
  s->state = STATE_ENDING;
  door_leave(s->host->door, &s->login.place);
  if (s->ending.reason == REASON_NONE)
    set_death(s);
  channel_shut_all(s);
  shutdown(s->client, SHUT_RDWR);
  close(s->client);
  s->client = -1;
  peer_close(s->worker.peer);
  s->worker.peer = NULL;
  spawner_kill(s->host->spawner, s->number); /* nobody, if its exit was reported */
  channel_give_up_all(s);
  question_drop_all(s);
  channel_finish_all(s);
  record_flush(s);
  record_end(s);
  penalise(s);
  if (s->started)
    known_mark(s->host->known, &s->source.ip, s->who.user, clock_mono_ms());
  if (s->started)
    log_info("session %s of %s ended: %s", s->id, s->who.user, s->ending.text);
  else
    log_debug("connection %s ended: %s", s->id, s->ending.text);
  session_unlink(s);
  session_free_if_done(s);
}

void life_force_all(sessions_t *all)
{
  LIST_EACH(session_t, s, &all->list, link) {
    if (s->ending.reason == REASON_NONE)
      session_set_reason(s, REASON_SHUTDOWN, NULL);
    life_finish(s);
  }
}

/* ---- the worker ---- */

static void on_gone(void *ctx, int err)
{
  session_t *s = ctx;
  if (err == SMPL_EPROTO) {
    session_misbehaved(s, "sent bytes that are no message of the contract");
    return;
  }
  s->worker.gone = true;
  session_mark_ending(s, SESSION_EXIT_MS);
}

void life_exited(sessions_t *all, uint64_t number, int status)
{
  session_t *s = session_by_number(all, number);
  if (s == NULL)
    return;
  s->worker.exited = true;
  s->worker.exit_status = status;
  all->host->sweep_soon(
      all->host->ctx); /* what it sent last is still to be read; or the template died and it lives on */
}

void life_spawned(sessions_t *all, uint64_t number, int pid)
{
  session_t *s = session_by_number(all, number);
  if (s != NULL)
    s->worker.pid = pid;
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
  session_set_reason(s, reason_of_bye(m->text.reason), text);
  if (s->ending.reason == REASON_WORKER_DIED)
    log_error("session %s: its worker could not start: %s", s->id, text);
  s->worker.bye = true;
  session_mark_ending(s, SESSION_END_MS);
}

/* Once: its words are a worker's, and whoever has taken one over could say them as well. */
static void on_crashed(session_t *s, const msg_t *m)
{
  if (s->worker.crashed) {
    session_misbehaved(s, "crashed more than once");
    return;
  }
  s->worker.crashed = true;
  log_error("session %s: %s", s->id, m->text.text);
}

/* Without these the worker is not what this program promises. */
enum { WALLS_NEEDED = MSG_WALL_SECCOMP | MSG_WALL_NO_NEW_PRIVS };

static void on_hello(session_t *s, const msg_t *m)
{
  s->worker.walls = m->walls.walls;
  s->all->worker_walls = s->worker.walls;
  if ((s->worker.walls & WALLS_NEEDED) != WALLS_NEEDED) {
    session_misbehaved(s, "stands without its walls");
    return;
  }
  s->state = STATE_KEX;
}

static void on_note(session_t *s, const msg_t *m)
{
  if (++s->worker.notes > SESSION_NOTES_MAX) {
    session_misbehaved(s, "sends notes without end");
    return;
  }
  char what[MSG_TEXT_MAX];
  text_printable(what, sizeof what, m->text.text, strlen(m->text.text));
  json_t *r = record_of(s, "refused");
  json_object_set_new(r, "reason", json_string(reason_name((reason_t)m->text.reason)));
  json_object_set_new(r, "what", json_string(what));
  s->all->counts.refused++;
  if (record_refusal(s, r, "refused", what, 0, (reason_t)m->text.reason))
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
  if (s->worker.gone || s->ending.cut || s->ending.finished)
    return;
  if (!rate_take(&s->worker.messages, SESSION_MESSAGE_BURST, SESSION_MESSAGE_PER_SECOND, clock_mono_ms())) {
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
  int err = peer_new(s->host->world.loop, pair[0], MSG_FROM_WORKER, &handlers, &s->worker.peer);
  msg_t m;
  msg_init(&m, MSG_START, 0, s->number);
  memcpy(m.start.id, s->id, sizeof m.start.id);
  m.start.channels_max = (uint32_t)session_config(s)->limits.channels;
  m.start.auth_failures_max = SESSION_AUTH_FAILURES_MAX;
  m.start.probes_max = SESSION_PROBES_MAX;
  m.start.algorithms = session_config(s)->algorithms;
  if (!err)
    err = peer_send(s->worker.peer, &m, -1);
  if (!err)
    err = spawner_spawn(s->host->spawner, s->number, &s->source.ip, s->client, pair[1]);
  if (err)
    close(pair[1]);
  return err;
}

door_rule_t life_start(sessions_t *all, int client, const endpoint_t *source)
{
  session_t *s = calloc(1, sizeof *s);
  if (s == NULL) {
    close(client);
    return DOOR_OPEN;
  }
  s->all = all;
  s->host = all->host;
  list_init(&s->traffic.channels);
  list_init(&s->questions.list);
  s->source = *source;
  door_rule_t closed_by = place_take(s);
  if (closed_by != DOOR_OPEN) {
    free(s);
    return closed_by;
  }
  s->number = ++all->numbers;
  s->worker.keys = hostkeys_share(all->host->world.config->keys);
  s->client = client;
  s->worker.exit_status = -1;
  s->login.by = clock_mono_ms() + all->host->world.config->limits.login_grace_ms;
  make_id(s);
  int err = ask_worker(s);
  if (err) {
    log_error("no worker for a connection: %s", smpl_strerror(err));
    door_leave(all->host->door, &s->login.place);
    peer_close(s->worker.peer);
    close(client);
    hostkeys_free(s->worker.keys);
    free(s);
    return DOOR_OPEN;
  }
  session_link(s);
  return DOOR_OPEN;
}

void life_init(sessions_t *all, const session_host_t *host)
{
  all->host = host;
  list_init(&all->list);
  all->on_marked = channel_shut_all;
}
