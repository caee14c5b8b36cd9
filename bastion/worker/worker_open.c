/* SPDX-License-Identifier: Apache-2.0 */
#define SSH_SUPPRESS_DEPRECATED
#include "bastion/worker/worker_open.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bastion/worker/worker_control.h"
#include "bastion/worker/worker_say.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* ---- forwarded connections ---- */

static void send_traffic(worker_channel_t *c, msg_type_t type, reason_t reason, const ssh_pump_bytes_t *bytes)
{
  worker_t *w = c->worker;
  msg_t m;
  msg_init(&m, type, 0, worker_pair_session(w->pair));
  m.traffic.channel = c->number;
  m.traffic.reason = reason;
  m.traffic.bytes_up = bytes->in;
  m.traffic.bytes_down = bytes->out;
  worker_pair_send(w->pair, &m);
}

static reason_t reason_of(ssh_pump_end_t end)
{
  switch (end) {
  case SSH_PUMP_END_SOCKET_BROKE:
    return REASON_TARGET_RESET;
  case SSH_PUMP_END_PEER_CLOSED:
    return REASON_CLIENT_RESET;
  case SSH_PUMP_END_SESSION:
    return REASON_SESSION_ENDED;
  case SSH_PUMP_END_FINISHED:
  case SSH_PUMP_END_DROPPED:
    break;
  }
  return REASON_CHANNEL_CLOSED;
}

static void on_channel_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end,
                           const ssh_pump_bytes_t *bytes)
{
  (void)ch;
  worker_channel_t *c = ctx;
  send_traffic(c, MSG_CHANNEL_END, reason_of(end), bytes);
  free(c);
}

static void on_each_traffic(void *ctx, ssh_pump_channel_t *ch, const ssh_pump_bytes_t *bytes)
{
  worker_t *w = ctx;
  LIST_EACH(worker_control_t, c, &w->controls, link) {
    if (c->channel == ch)
      return;
  }
  worker_channel_t *c = ssh_pump_context(ch);
  if (bytes->in + bytes->out == c->told)
    return;
  c->told = bytes->in + bytes->out;
  send_traffic(c, MSG_TRAFFIC, REASON_NONE, bytes);
}

void worker_tell_traffic(worker_t *w)
{
  ssh_pump_each(w->pump, on_each_traffic, w);
}

/* A question to the broker about the nth channel; the host is still to be put in. */
static void compose_open(const worker_t *w, ssh_message message, uint32_t nth, msg_t *m)
{
  const char *from = ssh_message_channel_request_open_originator(message);
  msg_init(m, MSG_OPEN, worker_pair_number(w->pair), worker_pair_session(w->pair));
  m->open.nth = nth;
  m->open.port = (uint32_t)ssh_message_channel_request_open_destination_port(message) & 0xffff;
  if (from != NULL)
    text_escape(m->open.originator, sizeof m->open.originator, from, strnlen(from, MSG_HOST_MAX));
  m->open.originator_port = (uint32_t)ssh_message_channel_request_open_originator_port(message) & 0xffff;
}

/* The broker answers the client's question why: so it is told, before the client is. */
static void turn_away(worker_t *w, ssh_message message, uint32_t nth, reason_t reason)
{
  const char *host = ssh_message_channel_request_open_destination(message);
  size_t len = host != NULL ? strlen(host) : 0;
  msg_t m;
  compose_open(w, message, nth, &m);
  m.open.turned_away = reason;
  if (len < MSG_HOST_MAX)
    memcpy(m.open.host, host != NULL ? host : "", len);
  else
    text_escape(m.open.host, sizeof m.open.host, host, MSG_HOST_MAX - 1);
  worker_pair_send(w->pair, &m);
  worker_refuse(message);
}

static void open_direct(worker_t *w, ssh_message message)
{
  const char *host = ssh_message_channel_request_open_destination(message);
  size_t len = host != NULL ? strlen(host) : 0;
  uint32_t nth = ++w->asked;
  if (worker_full(w)) {
    worker_note_full(w, host != NULL ? host : "");
    turn_away(w, message, nth, REASON_TOO_MANY_CHANNELS);
    return;
  }
  worker_open_t *o = len > 0 && len < MSG_HOST_MAX ? calloc(1, sizeof *o) : NULL;
  if (o == NULL) {
    worker_note(w, REASON_BAD_TARGET, host != NULL ? host : "");
    turn_away(w, message, nth, REASON_BAD_TARGET);
    return;
  }
  msg_t m;
  compose_open(w, message, nth, &m);
  memcpy(m.open.host, host, len);
  o->request = m.h.request;
  o->nth = nth;
  o->message = message;
  list_add_first(&w->opens, &o->link);
  w->open_count++;
  worker_pair_send(w->pair, &m);
}

static ssh_message take_open(worker_t *w, uint32_t request, uint32_t *nth)
{
  LIST_EACH(worker_open_t, o, &w->opens, link) {
    if (o->request != request)
      continue;
    ssh_message message = o->message;
    *nth = o->nth;
    list_remove(&o->link);
    w->open_count--;
    free(o);
    return message;
  }
  return NULL;
}

/* The broker counts the channel as open: it is told that it is not. */
static void give_up(worker_t *w, uint32_t number, int fd, reason_t reason)
{
  worker_channel_t c = {.worker = w, .number = number};
  if (fd >= 0)
    close(fd);
  send_traffic(&c, MSG_CHANNEL_END, reason, &(ssh_pump_bytes_t){0});
}

static bool start_channel(worker_t *w, uint32_t number, ssh_message message, int fd)
{
  worker_channel_t *c = calloc(1, sizeof *c);
  ssh_channel ssh = c != NULL ? ssh_message_channel_request_open_reply_accept(message) : NULL;
  if (ssh == NULL) {
    free(c);
    return false;
  }
  c->worker = w;
  c->number = number;
  if (ssh_pump_add(w->pump, ssh, fd, on_channel_end, c, NULL) != SMPL_OK) {
    ssh_channel_close(ssh);
    ssh_channel_free(ssh);
    free(c);
    return false;
  }
  return true;
}

void worker_open_answer(worker_t *w, const msg_t *m, int fd)
{
  uint32_t nth = 0;
  ssh_message message = take_open(w, m->h.request, &nth);
  if (m->h.type == MSG_REFUSED || message == NULL) {
    if (message != NULL)
      worker_refuse(message);
    if (fd >= 0)
      close(fd);
    return;
  }
  if (fd < 0) { /* dropped by the kernel: our limit of descriptors */
    turn_away(w, message, nth, REASON_TOO_MANY_CHANNELS);
    give_up(w, m->opened.channel, fd, REASON_TOO_MANY_CHANNELS);
    return;
  }
  if (!start_channel(w, m->opened.channel, message, fd))
    give_up(w, m->opened.channel, fd, REASON_CLIENT_RESET);
  ssh_message_free(message);
}

/* ---- what the peer asks for ---- */

void worker_open_channel(worker_t *w, ssh_message message)
{
  switch (ssh_message_subtype(message)) {
  case SSH_CHANNEL_DIRECT_TCPIP:
    open_direct(w, message);
    return;
  case SSH_CHANNEL_SESSION:
    worker_control_open(w, message);
    return;
  case SSH_CHANNEL_X11:
    worker_note(w, REASON_NOT_OFFERED, "x11 channel");
    break;
  case SSH_CHANNEL_AUTH_AGENT:
    worker_note(w, REASON_NOT_OFFERED, "agent channel");
    break;
  case SSH_CHANNEL_FORWARDED_TCPIP:
    worker_note(w, REASON_NOT_OFFERED, "forwarded-tcpip channel");
    break;
  default:
    worker_note(w, REASON_NOT_OFFERED, "channel of an unknown type");
  }
  worker_refuse(message);
}
