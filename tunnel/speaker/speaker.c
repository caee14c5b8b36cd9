/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/speaker.h"

#include <libssh/server.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/crash.h"
#include "common/ssh/ssh_pump.h"
#include "tunnel/speaker/channels.h"
#include "tunnel/speaker/exchange.h"
#include "tunnel/speaker/hollow_sign.h"
#include "tunnel/speaker/lines.h"
#include "tunnel/speaker/login.h"
#include "tunnel/speaker/pair.h"
#include "tunnel/speaker/speaker_walls.h"

typedef struct speaker {
  gauge_t *gauge;
  ssh_session session;
  ssh_pump_t *pump;
  channels_t channels;
  lines_t lines;
  bool read_ahead;
} speaker_t;

/* ---- ends ---- */

static noreturn void leave(speaker_t *s)
{
  if (s->session && ssh_is_connected(s->session))
    ssh_disconnect(s->session);
  pair_end();
}

/* What arrived is delivered first; then the supervisor cuts what is left. */
static noreturn void be_over(speaker_t *s, int err)
{
  speech_t m;
  speech_init(&m, SPEECH_OVER, 0);
  m.text.value = err == SMPL_ECLOSED  ? SPEECH_OVER_CLOSED
                 : err == SMPL_EPROTO ? SPEECH_OVER_ABUSE
                                      : SPEECH_OVER_FAILED;
  pair_text(m.text.text, sizeof m.text.text,
            err == SMPL_ECLOSED ? ssh_get_error(s->session) : smpl_strerror(err));
  s->channels.over = true;
  ssh_pump_free(s->pump);
  pair_tell(&m);
  leave(s);
}

static noreturn void end(speaker_t *s, uint32_t flush_ms)
{
  s->channels.over = true;
  if (s->pump && flush_ms > 0)
    ssh_pump_flush(s->pump, (int)flush_ms);
  ssh_pump_free(s->pump);
  leave(s);
}

static void on_crash(void *ctx, const char *line)
{
  speech_t m;
  (void)ctx;
  speech_init(&m, SPEECH_CRASHED, 0);
  pair_text(m.text.text, sizeof m.text.text, line);
  speech_send(SPEAKER_PAIR_FD, &m, -1);
}

/* ---- opening ---- */

static void start(speaker_t *s, speech_t *m, int fd)
{
  s->read_ahead = m->start.read_ahead;
  speech_start_t asked = m->start;
  s->session = exchange_run(&asked, fd, m);
  pair_tell(m);
}

/* Returns once signed in. */
static void open_session(speaker_t *s)
{
  static speech_t m;
  login_t login = {NULL, NULL};
  int fd;
  for (;;) {
    pair_hear(&m, &fd);
    if (m.h.type == SPEECH_END)
      end(s, m.value.value);
    else if (m.h.type == SPEECH_START && !s->session)
      start(s, &m, fd);
    else if (!s->session)
      pair_end();
    else if (m.h.type == SPEECH_SERVE)
      break;
    else if ((login.session = s->session) && login_step(&login, &m, fd))
      pair_tell(&m);
  }
  ssh_key_free(login.certificate);
}

/* ---- serving ---- */

/* What the server asks of a client is refused; its requests must not pile up. */
static void refuse_requests(void *ctx)
{
  speaker_t *s = ctx;
  ssh_message message;
  while ((message = ssh_message_get(s->session))) {
    ssh_message_reply_default(message);
    ssh_message_free(message);
  }
}

static void on_message(speaker_t *s, const speech_t *m, int fd)
{
  switch ((speech_type_t)m->h.type) {
  case SPEECH_OPEN:
    channels_open(&s->channels, &m->open, fd);
    return;
  case SPEECH_GIVE_UP:
    channels_give_up(&s->channels, m->h.number);
    return;
  case SPEECH_ASK:
    lines_ask(&s->lines, &m->bytes);
    return;
  case SPEECH_KEEPALIVE: /* libssh has one question at a time: the first call may only take the last answer in
                          */
    ssh_send_keepalive(s->session);
    ssh_send_keepalive(s->session);
    return;
  case SPEECH_END:
    end(s, m->value.value);
  default:
    pair_end();
  }
}

static void take_messages(speaker_t *s)
{
  enum { A_TURN = 64 };
  static speech_t m;
  int fd;
  for (int i = 0; i < A_TURN && pair_look(&m, &fd); i++)
    on_message(s, &m, fd);
}

static void show(speaker_t *s)
{
  ssh_pump_bytes_t carried = ssh_pump_carried(s->pump);
  atomic_store_explicit(&s->gauge->received, ssh_pump_received(s->pump), memory_order_relaxed);
  atomic_store_explicit(&s->gauge->up, carried.out, memory_order_relaxed);
  atomic_store_explicit(&s->gauge->down, carried.in, memory_order_relaxed);
}

static noreturn void serve(speaker_t *s)
{
  static uint8_t ahead[SSH_PUMP_READ_AHEAD]; /* a process has one session */
  if (ssh_pump_new(s->session, &s->pump) != SMPL_OK)
    leave(s);
  if (s->read_ahead)
    ssh_pump_read_ahead(s->pump, ahead);
  channels_start(&s->channels, s->session, s->pump);
  ssh_pump_before_sweep(s->pump, refuse_requests, s);
  lines_start(&s->lines, s->session, s->pump);
  lines_step(&s->lines); /* sends the first request now */
  for (;;) {
    struct pollfd pair = {SPEAKER_PAIR_FD, POLLIN, 0};
    int err = ssh_pump_turn(s->pump, &pair, 1, lines_wait(&s->lines) ? TUNNEL_STEP_MS : -1);
    show(s);
    if (err)
      be_over(s, err);
    channels_step(&s->channels);
    lines_step(&s->lines);
    if (pair.revents)
      take_messages(s);
  }
}

noreturn void speaker_run(gauge_t *gauge)
{
  speaker_t s = {.gauge = gauge};
  speech_t m;
  speech_init(&m, SPEECH_HELLO, 0);
  crash_tell(on_crash, NULL);
  m.value.value = speaker_seal();
  pair_tell(&m);
  hollow_sign_start();
  open_session(&s);
  serve(&s);
}
