/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/carry.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/ssh/reason.h"
#include "tunnel/local/local.h"
#include "tunnel/run/refusal.h"

typedef struct connection connection_t;

struct connection {
  connection_t *prev, *next;
  carry_t *carry;
  route_t *route;
  connection_state_t state;
  int fd;        /* -1: the check before ready, and nothing else */
  bool is_check; /* ready waits for it */
  bool asked_twice;
  unsigned alone; /* so often it was asked for by itself */
  bool unclear;   /* the server's reason may be another's */
  uint64_t until;
  bool socks; /* it waits for a SOCKS answer */
  char *host; /* its own target; NULL: the route's */
  uint16_t port;
  uint32_t nth; /* so many channels have been asked for in this session with it */
  char
      asked_host[FORWARD_TARGET_MAX + 1]; /* as it was asked for: a name that is learnt changes the route's */
  uint16_t asked_port;
};

typedef struct connection_list {
  connection_t *first, *last;
  size_t count;
} connection_list_t;

struct carry {
  life_t *life;
  link_t *link;
  why_t *why;
  carry_wanted_cb wanted;
  void *ctx;
  connection_list_t lists[CONNECTION_STATES];
  uint64_t connections;          /* all that were carried */
  uint64_t bytes_up, bytes_down; /* of sessions that have ended */
};

carry_t *carry_new(life_t *life, link_t *link, why_t *why, carry_wanted_cb wanted, void *ctx)
{
  carry_t *t = calloc(1, sizeof *t);
  if (t)
    *t = (carry_t){.life = life, .link = link, .why = why, .wanted = wanted, .ctx = ctx};
  return t;
}

void carry_free(carry_t *t)
{
  if (t)
    carry_close_all(t);
  free(t);
}

uint64_t carry_connections(const carry_t *t)
{
  return t->connections;
}

/* ---- lists ---- */

static void link_in(connection_t *c)
{
  connection_list_t *l = &c->carry->lists[c->state];
  c->prev = l->last;
  c->next = NULL;
  if (l->last)
    l->last->next = c;
  else
    l->first = c;
  l->last = c;
  l->count++;
}

static void link_out(connection_t *c)
{
  connection_list_t *l = &c->carry->lists[c->state];
  if (c->prev)
    c->prev->next = c->next;
  else
    l->first = c->next;
  if (c->next)
    c->next->prev = c->prev;
  else
    l->last = c->prev;
  l->count--;
}

static void move(connection_t *c, connection_state_t state)
{
  link_out(c);
  c->state = state;
  link_in(c);
}

size_t carry_count_in(const carry_t *t, connection_state_t state)
{
  return t->lists[state].count;
}

size_t carry_count(const carry_t *t)
{
  size_t count = 0;
  for (int i = 0; i < CONNECTION_STATES; i++)
    count += t->lists[i].count;
  return count;
}

static connection_t *add(carry_t *t, route_t *route, int fd, connection_state_t state)
{
  connection_t *c = calloc(1, sizeof *c);
  if (!c) {
    if (fd >= 0)
      local_reset(fd);
    return NULL;
  }
  *c = (connection_t){.carry = t, .route = route, .fd = fd, .state = state};
  link_in(c);
  return c;
}

/* A descriptor that is still there is reset. */
static void drop(connection_t *c)
{
  link_out(c);
  if (c->fd >= 0)
    local_reset(c->fd);
  free(c->host);
  free(c);
}

/* ---- holding ---- */

/* Those whose program has given up. */
static void drop_dead(carry_t *t)
{
  for (connection_t *c = t->lists[CONNECTION_HELD].first, *next; c; c = next) {
    struct pollfd p = {c->fd, 0, 0};
    next = c->next;
    if (poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP)))
      drop(c);
  }
}

static void hold(connection_t *c)
{
  carry_t *t = c->carry;
  move(c, CONNECTION_HELD);
  if (t->lists[CONNECTION_HELD].count > TUNNEL_HELD_MAX)
    drop_dead(t);
  if (t->lists[CONNECTION_HELD].count > TUNNEL_HELD_MAX) {
    route_t *r = c->route;
    drop(c);
    if (t->life->ready)
      refusal_tell(t->life, r, r->name, r->port, EXIT_NO_BASTION, NULL,
                   "there is no connection to the bastion, and no more local connections are held");
  }
}

/* ---- asking for a channel ---- */

static const char *host_of(const connection_t *c)
{
  return c->host ? c->host : c->route->host;
}

static uint16_t port_of(const connection_t *c)
{
  return c->host ? c->port : c->route->port;
}

static void name_originator(const connection_t *c, speech_open_t *m)
{
  struct sockaddr_storage sa;
  socklen_t len = sizeof sa;
  endpoint_t from = {0};
  char text[IP_TEXT_MAX] = "127.0.0.1";
  if (c->fd >= 0 && getpeername(c->fd, (struct sockaddr *)&sa, &len) == 0 &&
      endpoint_from_sockaddr((struct sockaddr *)&sa, &from) == SMPL_OK)
    ip_format(&from.ip, text);
  text_copy(m->originator, sizeof m->originator, text);
  m->originator_port = from.port;
}

static int send_open(const connection_t *c)
{
  static_assert((int)SOCKS_REPLY_SIZE <= (int)SPEECH_GREETING_MAX &&
                    (int)IP_TEXT_MAX <= (int)SPEECH_ORIGINATOR_MAX,
                "it fits");
  speech_t m;
  speech_init(&m, SPEECH_OPEN, c->nth);
  text_copy(m.open.host, sizeof m.open.host, c->asked_host);
  m.open.port = c->asked_port;
  name_originator(c, &m.open);
  if (c->socks) {
    m.open.greeting_len = SOCKS_REPLY_SIZE;
    socks_answer(SOCKS_GRANTED, m.open.greeting);
  }
  return talk_send(c->carry->link->talk, &m, c->fd);
}

static void give_up(const connection_t *c)
{
  speech_t m;
  speech_init(&m, SPEECH_GIVE_UP, c->nth);
  talk_send(c->carry->link->talk, &m, -1);
}

/* Both directions have ended, or one has failed: what that says to the program, the speaker has said. */
static void closed(connection_t *c)
{
  const carry_t *t = c->carry;
  if (c->fd >= 0)
    close(c->fd);
  c->fd = -1;
  drop(c);
  if (t->life->task->stdio)
    life_stop(t->life);
}

/* The target is known to be reached, or not to be. */
static void end_check(connection_t *c)
{
  if (c->is_check)
    c->carry->life->asking--;
  c->is_check = false;
}

static void opened(connection_t *c)
{
  end_check(c);
  if (c->fd < 0) { /* a check and nothing else */
    drop(c);
    return;
  }
  c->socks = false;
  move(c, CONNECTION_CARRIED);
  c->carry->connections++;
}

static void ask_for(connection_t *c);

static void no_answer(connection_t *c)
{
  if (c->socks) {
    local_refuse_socks(c->fd, SOCKS_HOST_UNREACHABLE);
    c->fd = -1;
  }
  refusal_tell(c->carry->life, c->route, c->host ? c->host : c->route->name, c->asked_port, EXIT_UNREACHABLE,
               reason_name(REASON_CONNECT_TIMEOUT), "the bastion does not answer in time");
}

/* A session keeps one error, which may be of another question by now, such as a subsystem that the server
 * does not have: then this one is asked again, once. It may also be that of another connection that was
 * refused in the same turn: then each is asked for by itself. A bastion is asked why, and needs none of
 * this. Whether it is to be asked again, which is begun. */
static bool ask_again(connection_t *c, const speech_text_t *refusal)
{
  carry_t *t = c->carry;
  bool mixed = refusal->value != 0;
  bool covered = !c->asked_twice && !refusal_is_there(refusal->text);
  bool room = c->alone < TUNNEL_ALONE_MAX && t->lists[CONNECTION_UNCLEAR].count < TUNNEL_UNCLEAR_MAX;
  c->unclear = mixed;
  if (ask_is_bastion(t->link->ask) || !(mixed ? room : covered))
    return false;
  c->asked_twice |= covered;
  if (mixed)
    move(c, CONNECTION_UNCLEAR);
  else
    ask_for(c);
  return true;
}

static void ask_why(connection_t *c, const char *error)
{
  why_ask(c->carry->why, &(why_refused_t){.route = c->route,
                                          .own_target = c->host != NULL,
                                          .host = c->asked_host,
                                          .port = c->asked_port,
                                          .nth = c->nth,
                                          .error = error,
                                          .unclear = c->unclear,
                                          .fd = c->socks ? c->fd : -1});
  if (c->socks)
    c->fd = -1;
}

static void refused(connection_t *c, const speech_text_t *refusal)
{
  if (ask_again(c, refusal))
    return;
  end_check(c);
  ask_why(c, refusal->text);
  drop(c);
}

static void late(connection_t *c)
{
  give_up(c);
  end_check(c);
  no_answer(c);
  drop(c);
}

static void ask_for(connection_t *c)
{
  carry_t *t = c->carry;
  c->until = clock_mono_ms() + TUNNEL_OPEN_MS;
  c->nth = ++t->link->asked_channels;
  text_copy(c->asked_host, sizeof c->asked_host, host_of(c));
  c->asked_port = port_of(c);
  move(c, CONNECTION_OPENING);
  if (send_open(c) != SMPL_ENOMEM) /* without a speaker it is held again: on_gone */
    return;
  end_check(c);
  drop(c);
}

static void start(connection_t *c)
{
  carry_t *t = c->carry;
  if (t->life->state == LIFE_UP) {
    ask_for(c);
    return;
  }
  hold(c);
  if (t->life->state == LIFE_WAITING)
    t->wanted(t->ctx);
}

void carry_take(carry_t *t, route_t *route, int fd, const char *host, uint16_t port)
{
  connection_t *c = add(t, route, fd, CONNECTION_HELD);
  if (!c)
    return;
  if (host) {
    c->socks = true;
    c->host = strdup(host);
    c->port = port;
    if (!c->host) {
      drop(c);
      return;
    }
  }
  start(c);
}

/* Who waits already is the check, and is served at once. */
static connection_t *find_held(carry_t *t, route_t *route)
{
  for (connection_t *c = t->lists[CONNECTION_HELD].first; c; c = c->next) {
    if (c->route == route && !c->host)
      return c;
  }
  return add(t, route, -1, CONNECTION_OPENING);
}

void carry_check(carry_t *t, route_t *route)
{
  connection_t *c = find_held(t, route);
  route->checking = true;
  if (!c)
    return;
  t->life->asking++;
  c->is_check = true;
  ask_for(c);
}

static connection_t *find(const carry_t *t, connection_state_t state, uint32_t nth)
{
  connection_t *c = t->lists[state].first;
  while (c && c->nth != nth)
    c = c->next;
  return c;
}

/* One that was given up, or let go, may still be told of. */
bool carry_heard(carry_t *t, const speech_t *m)
{
  connection_state_t state = m->h.type == SPEECH_CLOSED ? CONNECTION_CARRIED : CONNECTION_OPENING;
  connection_t *c = find(t, state, m->h.number);
  if (!c)
    return m->h.number <= t->link->asked_channels;
  if (m->h.type == SPEECH_OPENED)
    opened(c);
  else if (m->h.type == SPEECH_REFUSED)
    refused(c, &m->text);
  else
    closed(c);
  return true;
}

void carry_step(carry_t *t)
{
  uint64_t now = clock_mono_ms();
  for (connection_t *c = t->lists[CONNECTION_OPENING].first, *next; c; c = next) {
    next = c->next;
    if (now >= c->until)
      late(c);
  }
  connection_t *waits = t->lists[CONNECTION_UNCLEAR].first;
  if (waits && t->lists[CONNECTION_OPENING].count == 0) {
    waits->alone++;
    ask_for(waits);
  }
}

/* ---- the session comes and goes ---- */

static void hold_again(carry_t *t, connection_state_t state)
{
  for (connection_t *c = t->lists[state].first, *next; c; c = next) {
    next = c->next;
    if (c->fd < 0)
      drop(c);
    else
      hold(c);
  }
}

static void add_bytes(const carry_t *t, uint64_t *up, uint64_t *down)
{
  if (!t->link->talk)
    return;
  const gauge_t *gauge = talk_gauge(t->link->talk);
  *up += atomic_load_explicit(&gauge->up, memory_order_relaxed);
  *down += atomic_load_explicit(&gauge->down, memory_order_relaxed);
}

void carry_lost(carry_t *t)
{
  add_bytes(t, &t->bytes_up, &t->bytes_down);
  /* What was cut in the middle must not look whole: no end, but a reset. */
  while (t->lists[CONNECTION_CARRIED].first)
    drop(t->lists[CONNECTION_CARRIED].first); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
  hold_again(t, CONNECTION_OPENING);
  hold_again(t, CONNECTION_UNCLEAR);
}

void carry_release(carry_t *t)
{
  drop_dead(t);
  for (connection_t *c = t->lists[CONNECTION_HELD].first, *next; c; c = next) {
    next = c->next; /* NOLINT(clang-analyzer-unix.Malloc): what is dropped has left its list */
    ask_for(c);
  }
}

void carry_close_all(carry_t *t)
{
  for (int i = 0; i < CONNECTION_STATES; i++) {
    while (t->lists[i].first)
      drop(t->lists[i].first); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
  }
}

void carry_bytes(const carry_t *t, uint64_t *up, uint64_t *down)
{
  *up = t->bytes_up;
  *down = t->bytes_down;
  add_bytes(t, up, down);
}
