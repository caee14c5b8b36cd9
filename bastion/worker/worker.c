/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/worker/worker.h"

#include <string.h>
#include <unistd.h>

#include "bastion/worker/worker_seal.h"
#include "bastion/worker/worker_auth.h"
#include "bastion/worker/worker_control.h"
#include "bastion/worker/worker_open.h"
#include "bastion/worker/worker_say.h"
#include "common/base/clock.h"
#include "common/process/crash.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* In a signal's handler, on its small stack. */
static void tell_crash(void *ctx, const char *line)
{
  static msg_t m;
  const worker_t *w = ctx;
  msg_init(&m, MSG_CRASHED, 0, worker_pair_session(w->pair));
  text_escape(m.text.text, sizeof m.text.text, line, strnlen(line, sizeof m.text.text));
  msg_send(WORKER_PAIR_FD, &m, -1);
}

/* ---- from the broker ---- */

/* The event that tells of the end is queued. A client that reads it together with the disconnect drops it
 * unseen, as stock ssh does: a moment between the two. */
static void deliver_events(worker_t *w)
{
  uint64_t now = clock_mono_ms(), until = now + WORKER_EVENTS_MS;
  for (; w->pump != NULL && !list_empty(&w->controls) && now < until; now = clock_mono_ms())
    if (ssh_pump_turn(w->pump, NULL, 0, (int)(until - now)) != SMPL_OK)
      return;
}

static void on_broker_message(worker_t *w, const msg_t *m, int fd)
{
  switch ((msg_type_t)m->h.type) {
  case MSG_PROBED:
  case MSG_WELCOME:
    worker_auth_answer(w, m);
    return;
  case MSG_OPENED:
  case MSG_REFUSED:
    worker_open_answer(w, m, fd);
    return;
  case MSG_CONTROL_REPLY:
    worker_control_answer(w, m);
    return;
  case MSG_EVENT:
    worker_control_event(w, m);
    return;
  case MSG_SAY:
    if (w->signed_in)
      ssh_send_debug(w->session, m->text.text, 1);
    return;
  case MSG_END:
    deliver_events(w);
    worker_end(w, (reason_t)m->text.reason, m->text.text);
  default: /* an answer to a question that was given up, or a second MSG_START */
    if (fd >= 0)
      close(fd);
    return;
  }
}

static void drain_broker(worker_t *w)
{
  msg_t m;
  int fd;
  while (worker_pair_next(w->pair, &m, &fd) == SMPL_OK)
    on_broker_message(w, &m, fd);
}

/* ---- from the peer ---- */

static void on_service(ssh_message message)
{
  const char *service = ssh_message_service_service(message);
  if (service != NULL && strcmp(service, "ssh-userauth") == 0)
    ssh_message_service_reply_success(message);
  else
    ssh_message_reply_default(message);
  ssh_message_free(message);
}

static void on_global(worker_t *w, ssh_message message)
{
  ssh_message_reply_default(message);
  ssh_message_free(message);
  worker_note(w, REASON_NOT_OFFERED, "remote forwarding (tcpip-forward)");
}

/* Every message is taken out, so that none is left that points to a channel about to be freed. */
static void drain_peer(worker_t *w)
{
  ssh_message message;
  while ((message = ssh_message_get(w->session)) != NULL) {
    switch (ssh_message_type(message)) {
    case SSH_REQUEST_SERVICE:
      on_service(message);
      break;
    case SSH_REQUEST_AUTH:
      worker_auth_request(w, message);
      break;
    case SSH_REQUEST_CHANNEL_OPEN:
      worker_open_channel(w, message);
      break;
    case SSH_REQUEST_CHANNEL:
      worker_channel_request(w, message);
      break;
    case SSH_REQUEST_GLOBAL:
      on_global(w, message);
      break;
    default:
      ssh_message_reply_default(message);
      ssh_message_free(message);
    }
  }
}

static void before_sweep(void *ctx)
{
  drain_peer(ctx);
}

/* The session is over and was not ended here: by whom. */
static noreturn void lost(worker_t *w)
{
  const char *error = ssh_get_error(w->session);
  if (strstr(error, "SSH_MSG_DISCONNECT") != NULL)
    worker_end(w, REASON_CLIENT_CLOSED, NULL);
  if (strstr(error, "Socket error") != NULL || error[0] == '\0')
    worker_end(w, REASON_CLIENT_VANISHED, NULL);
  worker_end(w, REASON_PROTOCOL_ERROR, error);
}

/* Before the login every error that libssh records leaves the client without an answer (a signature of a kind
 * that is not accepted, say): better an end with words. */
static void check_login_error(worker_t *w)
{
  if (!w->signed_in && ssh_get_error_code(w->session) == SSH_FATAL)
    worker_end(w, REASON_PROTOCOL_ERROR, ssh_get_error(w->session));
}

static noreturn void serve(worker_t *w)
{
  struct pollfd broker = {worker_pair_fd(w->pair), POLLIN, 0};
  for (;;) {
    int timeout = w->pump != NULL && ssh_pump_live(w->pump) > 0 ? WORKER_TRAFFIC_MS : -1;
    int err = ssh_pump_turn(w->pump, &broker, 1, timeout);
    if (err == SMPL_EPROTO)
      worker_end(w, REASON_PROTOCOL_ERROR,
                 "more bytes than the channel's window allows, or answers that it does not read");
    if (err)
      lost(w);
    check_login_error(w);
    drain_broker(w); /* not only when its descriptor is ready: a signature may have let messages queue */
    uint64_t now = clock_mono_ms();
    if (now >= w->traffic_at) {
      worker_tell_traffic(w);
      w->traffic_at = now + WORKER_TRAFFIC_MS;
    }
  }
}

/* ---- start ---- */

static void await_start(worker_t *w)
{
  msg_t m;
  int fd;
  if (worker_pair_wait(w->pair, &m, &fd, WORKER_START_MS) != SMPL_OK || m.h.type != MSG_START)
    _exit(WORKER_EXIT_BROKEN);
  w->limits = m.start;
  if (w->limits.channels_max > WORKER_CHANNELS_CAP)
    w->limits.channels_max = WORKER_CHANNELS_CAP;
}

static void say_hello(worker_t *w, uint32_t walls)
{
  msg_t m;
  msg_init(&m, MSG_HELLO, 0, worker_pair_session(w->pair));
  m.walls.walls = walls;
  worker_pair_send(w->pair, &m);
}

noreturn void worker_run(worker_ssh_t *ssh, uint64_t session, uint32_t walls)
{
  static worker_t state;                     /* lives as long as the process */
  static uint8_t ahead[SSH_PUMP_READ_AHEAD]; /* the same; an idle session's stays untouched but for its first
                                                page, and costs nothing */
  worker_t *w = &state;
  w->drain = drain_peer;
  list_init(&w->opens);
  list_init(&w->controls);
  w->pair = worker_pair_new(WORKER_PAIR_FD, session);
  if (!w->pair)
    _exit(WORKER_EXIT_BROKEN);
  crash_tell(tell_crash, w);
  await_start(w);
  w->session = worker_ssh_session(ssh, WORKER_CLIENT_FD, (msg_algorithms_t)w->limits.algorithms);
  if (!w->session)
    _exit(WORKER_EXIT_BROKEN);
  diag_t diag = {0};
  if (worker_seal(w->limits.channels_max, &walls, &diag) != SMPL_OK) {
    worker_send_text(w, MSG_BYE, REASON_WORKER_DIED, diag.text);
    _exit(WORKER_EXIT_UNSEALED);
  }
  worker_sign_start(w->pair, worker_ssh_keys(ssh));
  say_hello(w, walls);
  if (ssh_handle_key_exchange(w->session) == SSH_ERROR || ssh_pump_new(w->session, &w->pump) != SMPL_OK)
    lost(w);
  ssh_pump_read_ahead(w->pump, ahead);
  ssh_pump_before_sweep(w->pump, before_sweep, w);
  serve(w);
}
