/* SPDX-License-Identifier: Apache-2.0 */
#define SSH_SUPPRESS_DEPRECATED
#include "bastion/worker/worker_control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/worker/worker_say.h"
#include "common/base/clock.h"
#include "common/base/error.h"

static void finish_if_answered(worker_control_t *c)
{
  if (!c->peer_ended || c->pending > 0)
    return;
  if (c->speaks)                                     /* a shell that was refused has no good end to report */
    ssh_channel_request_send_exit_status(c->ssh, 0); /* for `ssh -s`, which hands it on */
  ssh_pump_finish_lines(c->channel);
}

static void on_control_line(void *ctx, ssh_pump_channel_t *ch, const char *line, size_t len)
{
  worker_control_t *c = ctx;
  if (!c->speaks)
    c->worker->drain(
        c->worker); /* data and its end are seen before requests are: the subsystem's may be queued */
  if (line == NULL) {
    c->peer_ended = true;
    finish_if_answered(c);
    return;
  }
  if (!c->speaks || len >= MSG_JSON_MAX || c->pending == WORKER_CONTROL_PENDING_MAX) {
    ssh_pump_drop(ch);
    return;
  }
  worker_t *w = c->worker;
  msg_t m;
  msg_init(&m, MSG_CONTROL, worker_pair_number(w->pair), worker_pair_session(w->pair));
  m.json.control = c->number;
  /* A NUL inside the line ends it: the rest is nothing that JSON could hold. */
  m.json.len = (uint32_t)strnlen(line, len);
  memcpy(m.json.json, line, m.json.len);
  m.json.json[m.json.len] = '\0';
  c->pending++;
  worker_pair_send(w->pair, &m);
}

static void on_control_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end,
                           const ssh_pump_bytes_t *bytes)
{
  (void)ch;
  (void)end;
  (void)bytes;
  worker_control_t *c = ctx;
  list_remove(&c->link);
  c->worker->control_count--;
  free(c);
}

void worker_control_answer(worker_t *w, const msg_t *m)
{
  LIST_EACH(worker_control_t, c, &w->controls, link) {
    if (c->number != m->json.control)
      continue;
    if (c->pending > 0)
      c->pending--;
    if (ssh_pump_send_line(c->channel, m->json.json, m->json.len) == SMPL_ELIMIT)
      ssh_pump_drop(c->channel); /* asks, and does not read the answers */
    finish_if_answered(c);
    return;
  }
}

void worker_control_open(worker_t *w, ssh_message message)
{
  worker_control_t *c = NULL;
  if (!worker_full(w) && w->control_count < WORKER_CONTROLS_MAX)
    c = calloc(1, sizeof *c);
  if (c == NULL) {
    worker_note_full(w, "session");
    worker_refuse(message);
    return;
  }
  c->worker = w;
  c->number = ++w->control_number;
  c->ssh = ssh_message_channel_request_open_reply_accept(message);
  ssh_message_free(message);
  if (c->ssh == NULL) {
    free(c);
    return;
  }
  if (ssh_pump_add_lines(w->pump, c->ssh, on_control_line, on_control_end, c, &c->channel) != SMPL_OK) {
    ssh_channel_free(c->ssh);
    free(c);
    return;
  }
  list_add_first(&w->controls, &c->link);
  w->control_count++;
}

void worker_control_event(worker_t *w, const msg_t *m)
{
  bool heard = false;
  LIST_EACH(worker_control_t, c, &w->controls, link) {
    if (!c->speaks || c->channel == NULL)
      continue;
    ssh_pump_send_line(c->channel, m->json.json, m->json.len);
    heard = true;
  }
  free(w->unheard.line);
  w->unheard = (worker_unheard_t){heard ? NULL : strndup(m->json.json, m->json.len),
                                  clock_mono_ms() + WORKER_UNHEARD_MS};
}

/* Limits may be short, and the first warning early. */
static void tell_unheard(worker_t *w, const worker_control_t *c)
{
  if (w->unheard.line != NULL && clock_mono_ms() < w->unheard.until)
    ssh_pump_send_line(c->channel, w->unheard.line, strlen(w->unheard.line));
  free(w->unheard.line);
  w->unheard.line = NULL;
}

static worker_control_t *control_of(worker_t *w, ssh_channel channel)
{
  LIST_EACH(worker_control_t, c, &w->controls, link) {
    if (c->ssh == channel)
      return c;
  }
  return NULL;
}

static void describe(ssh_message message, char *what, size_t cap)
{
  switch (ssh_message_subtype(message)) {
  case SSH_CHANNEL_REQUEST_SHELL:
    snprintf(what, cap, "shell");
    return;
  case SSH_CHANNEL_REQUEST_PTY:
    snprintf(what, cap, "pty");
    return;
  case SSH_CHANNEL_REQUEST_EXEC:
    snprintf(what, cap, "exec %.200s", ssh_message_channel_request_command(message));
    return;
  case SSH_CHANNEL_REQUEST_ENV:
    snprintf(what, cap, "env %.100s", ssh_message_channel_request_env_name(message));
    return;
  case SSH_CHANNEL_REQUEST_SUBSYSTEM:
    snprintf(what, cap, "subsystem %.100s", ssh_message_channel_request_subsystem(message));
    return;
  case SSH_CHANNEL_REQUEST_X11:
    snprintf(what, cap, "x11 forwarding");
    return;
  case SSH_CHANNEL_REQUEST_WINDOW_CHANGE:
    what[0] = '\0'; /* follows a pty that was refused: not worth a record */
    return;
  default: /* PuTTY measures its window with such, for as long as it downloads */
    what[0] = '\0';
  }
}

void worker_channel_request(worker_t *w, ssh_message message)
{
  worker_control_t *c = control_of(w, ssh_message_channel_request_channel(message));
  bool subsystem = ssh_message_subtype(message) == SSH_CHANNEL_REQUEST_SUBSYSTEM;
  if (c != NULL && !c->speaks && subsystem &&
      strcmp(ssh_message_channel_request_subsystem(message), "smpl-control") == 0) {
    c->speaks = true;
    ssh_message_channel_request_reply_success(message);
    ssh_message_free(message);
    tell_unheard(w, c);
    return;
  }
  char what[256];
  describe(message, what, sizeof what);
  worker_refuse(message);
  if (what[0])
    worker_note(w, REASON_NOT_OFFERED, what);
}
