/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/talk.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/list.h"
#include "common/base/text.h"

/* A message that found no room. */
typedef struct queued {
  list_t link;
  int fd; /* of its own; -1: none */
  size_t len;
  uint8_t bytes[];
} queued_t;

struct talk {
  template_t *template;
  int pair; /* -1: it has ended */
  speech_state_t state;
  bool broken; /* it has said what it may not */
  char crash[SPEECH_ERROR_MAX];
  speech_t heard;
  uv_poll_t poll;
  bool polling;
  talk_hooks_t hooks;
  list_t queue;
};

int talk_new(template_t *template, talk_t **out)
{
  talk_t *t = calloc(1, sizeof *t);
  *out = NULL;
  if (!t)
    return SMPL_ENOMEM;
  t->template = template;
  list_init(&t->queue);
  int err = template_spawn(template, &t->pair);
  if (err)
    free(t);
  else
    *out = t;
  return err;
}

const gauge_t *talk_gauge(const talk_t *t)
{
  return t->template->gauge;
}

bool talk_stands(const talk_t *t)
{
  return t->state == SPEECH_STATE_SERVING;
}

static void drop_queued(queued_t *q)
{
  list_remove(&q->link);
  if (q->fd >= 0)
    close(q->fd);
  free(q);
}

static void on_closed(uv_handle_t *handle)
{
  talk_t *t = handle->data;
  free(t);
}

static void hang_up(talk_t *t)
{
  if (t->polling)
    uv_poll_stop(&t->poll);
  if (t->pair >= 0)
    close(t->pair);
  t->pair = -1;
  t->state = SPEECH_STATE_OVER;
  LIST_EACH(queued_t, q, &t->queue, link)
    drop_queued(q);
  if (t->broken)
    template_kill(t->template);
}

static void say_goodbye(talk_t *t, unsigned flush_ms)
{
  speech_t m;
  speech_init(&m, SPEECH_END, 0);
  m.value.value = flush_ms;
  if (t->pair >= 0 && !t->broken)
    speech_send(t->pair, &m, -1);
}

static void release(talk_t *t)
{
  hang_up(t);
  if (t->polling)
    uv_close((uv_handle_t *)&t->poll, on_closed);
  else
    free(t);
}

void talk_free(talk_t *t, unsigned flush_ms)
{
  if (!t)
    return;
  say_goodbye(t, flush_ms);
  release(t);
}

/* Its end of the pair closes when it has ended. */
static void wait_for_end(const talk_t *t, unsigned flush_ms)
{
  struct pollfd p = {t->pair, 0, 0};
  if (t->pair >= 0)
    poll(&p, 1, (int)flush_ms + TALK_END_MS);
}

void talk_end(talk_t *t, unsigned flush_ms)
{
  if (!t)
    return;
  say_goodbye(t, flush_ms);
  wait_for_end(t, flush_ms);
  release(t);
}

/* ---- hearing ---- */

/* One that may come now. */
static int hear(talk_t *t)
{
  int fd;
  int err = speech_receive(t->pair, &t->heard, SPEECH_FROM_SPEAKER, &fd);
  if (!err && !speech_may(t->state, (speech_type_t)t->heard.h.type))
    err = SMPL_EPROTO;
  if (err == SMPL_EPROTO)
    t->broken = true;
  if (!err && t->heard.h.type == SPEECH_CRASHED) {
    text_escape(t->crash, sizeof t->crash, (const uint8_t *)t->heard.text.text, strlen(t->heard.text.text));
    return SMPL_EAGAIN;
  }
  return err;
}

static int hear_by(talk_t *t, uint64_t until)
{
  int err;
  while ((err = hear(t)) == SMPL_EAGAIN) {
    uint64_t now = clock_mono_ms();
    struct pollfd p = {t->pair, POLLIN, 0};
    if (now >= until)
      return SMPL_ETIMEOUT;
    poll(&p, 1, (int)(until - now));
  }
  return err;
}

/* ---- before it stands ---- */

int talk_tell(talk_t *t, const speech_t *m, int fd)
{
  int err;
  if (t->pair < 0)
    return SMPL_ECLOSED;
  while ((err = speech_send(t->pair, m, fd)) == SMPL_EAGAIN) {
    struct pollfd p = {t->pair, POLLOUT, 0};
    poll(&p, 1, -1);
  }
  if (!err && m->h.type == SPEECH_SERVE)
    t->state = SPEECH_STATE_SERVING;
  return err;
}

static speech_state_t state_of(speech_type_t question)
{
  switch (question) {
  case SPEECH_START:
    return SPEECH_STATE_STARTING;
  case SPEECH_OFFER:
    return SPEECH_STATE_OFFERING;
  default:
    return SPEECH_STATE_ASKED;
  }
}

/* The one signature of an offer. */
static int answer_sign(talk_t *t, talk_sign_cb sign, void *ctx)
{
  uint8_t signature[SPEECH_SIGNATURE_MAX];
  speech_t m;
  size_t len = sign ? sign(ctx, t->heard.bytes.bytes, t->heard.bytes.len, signature) : 0;
  t->state = SPEECH_STATE_ASKED;
  speech_init_bytes(&m, SPEECH_SIGNED, signature, len);
  return talk_tell(t, &m, -1);
}

static int be_ready(talk_t *t, uint64_t until)
{
  int err = t->state == SPEECH_STATE_BORN ? hear_by(t, until) : SMPL_OK;
  if (!err && t->state == SPEECH_STATE_BORN)
    t->state = SPEECH_STATE_QUIET;
  return err;
}

/* Of a speaker that has ended the last words stand there still. */
static void hear_last_words(talk_t *t)
{
  enum { WORDS = 4 };
  for (int i = 0; i < WORDS; i++)
    hear(t);
}

int talk_ask(talk_t *t, speech_t *m, int fd, int ms, talk_sign_cb sign, void *ctx)
{
  uint64_t until = clock_mono_ms() + (uint64_t)ms;
  int err = be_ready(t, until);
  if (err)
    return err;
  t->state = state_of((speech_type_t)m->h.type);
  err = talk_tell(t, m, fd);
  while (!err && !(err = hear_by(t, until)) && t->heard.h.type == SPEECH_SIGN)
    err = answer_sign(t, sign, ctx);
  if (err == SMPL_ECLOSED)
    hear_last_words(t);
  if (err)
    return err;
  t->state = SPEECH_STATE_QUIET;
  memcpy(m, &t->heard, speech_length(&t->heard));
  return SMPL_OK;
}

void talk_explain(const talk_t *t, int err, diag_t *diag)
{
  if (err == SMPL_EPROTO)
    diag_fail(diag, err, "the process that speaks SSH has said what it may not, and was ended");
  else if (err == SMPL_ETIMEOUT)
    diag_fail(diag, err, "the process that speaks SSH does not answer");
  else
    diag_fail(diag, err, "the process that speaks SSH has ended%s%s", t->crash[0] ? ": " : "", t->crash);
}

/* ---- once it stands ---- */

static void gone(talk_t *t, int err)
{
  hang_up(t);
  t->hooks.on_gone(t->hooks.ctx, err);
}

static void want(talk_t *t);

static void send_queued(talk_t *t)
{
  while (t->pair >= 0 && !list_empty(&t->queue)) {
    queued_t *q = LIST_FIRST(&t->queue, queued_t, link);
    if (speech_send(t->pair, (const speech_t *)(const void *)q->bytes, q->fd) == SMPL_EAGAIN)
      return;
    drop_queued(q); /* sent, or nobody is there to take it: hearing tells */
  }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
  talk_t *t = poll->data;
  enum { A_TURN = 64 };
  int err = status < 0 ? SMPL_ESYS : SMPL_OK;
  if (events & UV_WRITABLE)
    send_queued(t);
  for (int i = 0; i < A_TURN && !err && t->pair >= 0; i++) {
    err = hear(t);
    if (!err) {
      if (t->heard.h.type == SPEECH_OVER)
        t->state = SPEECH_STATE_OVER;
      t->hooks.on_message(t->hooks.ctx, &t->heard);
    }
  }
  if (t->pair < 0)
    return;
  if (err && err != SMPL_EAGAIN)
    gone(t, err);
  else
    want(t);
}

static void want(talk_t *t)
{
  int events = UV_READABLE | (list_empty(&t->queue) ? 0 : UV_WRITABLE);
  uv_poll_start(&t->poll, events, on_poll);
}

int talk_serve(talk_t *t, uv_loop_t *loop, const talk_hooks_t *hooks)
{
  t->hooks = *hooks;
  if (uv_poll_init(loop, &t->poll, t->pair) != 0)
    return SMPL_ENOMEM;
  t->poll.data = t;
  t->polling = true;
  want(t);
  return SMPL_OK;
}

static int enqueue(talk_t *t, const speech_t *m, int fd)
{
  size_t len = speech_length(m);
  queued_t *q = malloc(sizeof *q + len);
  int own = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
  if (!q || (fd >= 0 && own < 0)) {
    if (own >= 0)
      close(own);
    free(q);
    return SMPL_ENOMEM;
  }
  q->fd = own;
  q->len = len;
  memcpy(q->bytes, m, len);
  list_add_last(&t->queue, &q->link);
  want(t);
  return SMPL_OK;
}

int talk_send(talk_t *t, const speech_t *m, int fd)
{
  if (t->pair < 0)
    return SMPL_ECLOSED;
  int err = list_empty(&t->queue) ? speech_send(t->pair, m, fd) : SMPL_EAGAIN;
  return err == SMPL_EAGAIN ? enqueue(t, m, fd) : err;
}
