/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/channels.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/error.h"
#include "tunnel/speaker/pair.h"

/* One that is being opened, and then what the pump knows it by. */
typedef struct opening {
  list_t link;
  channels_t *channels;
  speech_open_t asked;
  int fd; /* -1: it is only tried */
  ssh_channel channel;
  int answer; /* libssh's, in this turn */
} opening_t;

void channels_start(channels_t *c, ssh_session session, ssh_pump_t *pump)
{
  *c = (channels_t){.session = session, .pump = pump};
  list_init(&c->opening);
}

static void tell(speech_type_t type, const opening_t *o)
{
  speech_t m;
  speech_init(&m, type, o->asked.h.number);
  pair_tell(&m);
}

static void drop(opening_t *o)
{
  list_remove(&o->link);
  if (o->fd >= 0)
    close(o->fd);
  free(o);
}

static void on_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end, const ssh_pump_bytes_t *bytes)
{
  opening_t *o = ctx;
  (void)ch;
  (void)end;
  (void)bytes;
  o->fd = -1; /* closed by the pump */
  if (!o->channels->over)
    tell(SPEECH_CLOSED, o);
  drop(o);
}

static void let_go(opening_t *o)
{
  ssh_channel_close(o->channel);
  ssh_channel_free(o->channel);
  tell(SPEECH_CLOSED, o);
  drop(o);
}

static void opened(opening_t *o)
{
  list_remove(&o->link);
  tell(SPEECH_OPENED, o);
  if (o->fd >= 0 && o->asked.greeting_len > 0)
    send(o->fd, o->asked.greeting, o->asked.greeting_len, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (o->fd < 0 || ssh_pump_add(o->channels->pump, o->channel, o->fd, on_end, o, NULL) != SMPL_OK)
    let_go(o);
}

static void refused(opening_t *o, bool mixed)
{
  speech_t m;
  speech_init(&m, SPEECH_REFUSED, o->asked.h.number);
  m.text.value = mixed;
  pair_text(m.text.text, sizeof m.text.text, ssh_get_error(o->channels->session));
  ssh_channel_free(o->channel);
  drop(o);
  pair_tell(&m);
}

/* SSH_AGAIN while the bastion has not answered. */
static int ask(const opening_t *o)
{
  const speech_open_t *a = &o->asked;
  return ssh_channel_open_forward(o->channel, a->host, (int)a->port, a->originator, (int)a->originator_port);
}

static void settle(opening_t *o, bool mixed)
{
  if (o->answer == SSH_OK)
    opened(o);
  else if (o->answer != SSH_AGAIN && ssh_is_connected(o->channels->session))
    refused(o, mixed);
}

void channels_open(channels_t *c, const speech_open_t *m, int fd)
{
  opening_t *o = calloc(1, sizeof *o);
  if (!o)
    pair_end();
  *o = (opening_t){.channels = c, .asked = *m, .fd = fd};
  list_add_last(&c->opening, &o->link);
  o->channel = ssh_channel_new(c->session);
  if (!o->channel)
    pair_end();
  o->answer = ask(o); /* sends the question */
  settle(o, false);
}

void channels_give_up(channels_t *c, uint32_t number)
{
  LIST_EACH(opening_t, o, &c->opening, link) {
    if (o->asked.h.number == number) {
      ssh_channel_free(o->channel);
      drop(o);
    }
  }
}

static bool same_target(const speech_open_t *a, const speech_open_t *b)
{
  return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* Takes the answers that have come. Returns whether several targets have been refused in this turn. */
static bool take_answers(channels_t *c)
{
  const opening_t *refused = NULL;
  bool mixed = false;
  LIST_EACH(opening_t, o, &c->opening, link) {
    o->answer = ask(o);
    if (o->answer != SSH_ERROR)
      continue;
    mixed |= refused && !same_target(&refused->asked, &o->asked);
    refused = o;
  }
  return mixed;
}

/* Answers come as bytes: without any, nothing can have changed. */
void channels_step(channels_t *c)
{
  uint64_t received = ssh_pump_received(c->pump);
  if (received == c->opened_by)
    return;
  c->opened_by = received;
  bool mixed = take_answers(c);
  LIST_EACH(opening_t, o, &c->opening, link)
    settle(o, mixed);
}
