/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/carry.h"

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
  int answer;     /* libssh's, in this turn */
  ssh_channel channel;
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
  uint64_t opened_by;            /* bytes received when openings were last looked at */
  uint64_t connections;          /* all that were carried */
  uint64_t bytes_up, bytes_down; /* of those that have ended */
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

/* SSH_AGAIN while the bastion has not answered. */
static int open_channel(const connection_t *c)
{
  struct sockaddr_storage sa;
  socklen_t len = sizeof sa;
  endpoint_t from = {0};
  char text[IP_TEXT_MAX] = "127.0.0.1";
  if (c->fd >= 0 && getpeername(c->fd, (struct sockaddr *)&sa, &len) == 0 &&
      endpoint_from_sockaddr((struct sockaddr *)&sa, &from) == SMPL_OK)
    ip_format(&from.ip, text);
  return ssh_channel_open_forward(c->channel, c->asked_host, c->asked_port, text, from.port);
}

static void on_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end, const ssh_pump_bytes_t *bytes)
{
  (void)ch;
  (void)end;
  connection_t *c = ctx;
  carry_t *t = c->carry;
  t->bytes_up += bytes->out;
  t->bytes_down += bytes->in;
  c->fd = -1; /* closed by the pump */
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
  carry_t *t = c->carry;
  end_check(c);
  if (c->fd < 0) { /* a check and nothing else */
    ssh_channel_close(c->channel);
    ssh_channel_free(c->channel);
    drop(c);
    return;
  }
  if (c->socks)
    local_answer_socks(c->fd, SOCKS_GRANTED);
  c->socks = false;
  if (ssh_pump_add(t->link->pump, c->channel, c->fd, on_end, c, NULL) == SMPL_OK) {
    move(c, CONNECTION_CARRIED);
    t->connections++;
    return;
  }
  ssh_channel_close(c->channel);
  ssh_channel_free(c->channel);
  drop(c);
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
static bool ask_again(connection_t *c, bool mixed)
{
  carry_t *t = c->carry;
  bool covered = !c->asked_twice && !refusal_is_there(t->link->ssh);
  bool room = c->alone < TUNNEL_ALONE_MAX && t->lists[CONNECTION_UNCLEAR].count < TUNNEL_UNCLEAR_MAX;
  c->unclear = mixed;
  if (ask_is_bastion(t->link->ask) || !(mixed ? room : covered))
    return false;
  ssh_channel_free(c->channel);
  c->channel = NULL;
  c->asked_twice |= covered;
  if (mixed)
    move(c, CONNECTION_UNCLEAR);
  else
    ask_for(c);
  return true;
}

static void ask_why(connection_t *c)
{
  why_ask(c->carry->why, &(why_refused_t){.route = c->route,
                                          .own_target = c->host != NULL,
                                          .host = c->asked_host,
                                          .port = c->asked_port,
                                          .nth = c->nth,
                                          .unclear = c->unclear,
                                          .fd = c->socks ? c->fd : -1});
  if (c->socks)
    c->fd = -1;
}

static void not_opened(connection_t *c, bool in_time, bool mixed)
{
  if (in_time && ask_again(c, mixed))
    return;
  end_check(c);
  if (in_time)
    ask_why(c);
  else
    no_answer(c);
  ssh_channel_free(c->channel);
  drop(c);
}

/* mixed: its refusal came together with others. */
static void settle(connection_t *c, bool mixed)
{
  if (c->answer == SSH_AGAIN && clock_mono_ms() < c->until)
    return;
  if (c->answer == SSH_OK)
    opened(c);
  else if (ssh_is_connected(c->carry->link->ssh))
    not_opened(c, c->answer != SSH_AGAIN, mixed);
}

static void ask_for(connection_t *c)
{
  carry_t *t = c->carry;
  c->channel = ssh_channel_new(t->link->ssh);
  if (!c->channel) {
    end_check(c);
    drop(c);
    return;
  }
  c->until = clock_mono_ms() + TUNNEL_OPEN_MS;
  c->nth = ++t->link->asked_channels;
  text_copy(c->asked_host, sizeof c->asked_host, host_of(c));
  c->asked_port = port_of(c);
  move(c, CONNECTION_OPENING);
  c->answer = open_channel(c); /* sends the question */
  settle(c, false);
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

static bool same_target(const connection_t *a, const connection_t *b)
{
  return a->asked_port == b->asked_port && strcmp(a->asked_host, b->asked_host) == 0;
}

/* Takes the answers that have come. Returns whether several targets have been refused in this turn. */
static bool take_answers(carry_t *t, bool news, uint64_t now)
{
  const connection_t *refused = NULL;
  bool mixed = false;
  for (connection_t *c = t->lists[CONNECTION_OPENING].first; c; c = c->next) {
    c->answer = news || now >= c->until ? open_channel(c) : SSH_AGAIN;
    if (c->answer != SSH_ERROR)
      continue;
    mixed |= refused && !same_target(refused, c);
    refused = c;
  }
  return mixed;
}

/* Answers come as bytes: without any, only time limits can have changed something. */
void carry_step(carry_t *t)
{
  uint64_t received = ssh_pump_received(t->link->pump);
  bool news = received != t->opened_by;
  t->opened_by = received;
  bool mixed = take_answers(t, news, clock_mono_ms());
  for (connection_t *c = t->lists[CONNECTION_OPENING].first, *next; c; c = next) {
    next = c->next;
    settle(c, mixed);
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
    c->channel = NULL; /* the session frees it */
    if (c->fd < 0)
      drop(c);
    else
      hold(c);
  }
}

void carry_lost(carry_t *t)
{
  t->opened_by = 0;
  struct linger hard = {1, 0};
  /* What was cut in the middle must not look whole: no end, but a reset. */
  for (connection_t *c = t->lists[CONNECTION_CARRIED].first; c; c = c->next)
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  hold_again(t, CONNECTION_OPENING);
  hold_again(t, CONNECTION_UNCLEAR);
}

void carry_release(carry_t *t)
{
  drop_dead(t);
  for (connection_t *c = t->lists[CONNECTION_HELD].first, *next; c; c = next) {
    next = c->next;
    ask_for(c);
  }
}

void carry_close_all(carry_t *t)
{
  for (int i = 0; i < CONNECTION_STATES; i++) {
    while (i != CONNECTION_CARRIED && t->lists[i].first)
      drop(t->lists[i].first);
  }
}

typedef struct sum {
  const void *control; /* whose lines are nobody's bytes */
  uint64_t up, down;
} sum_t;

static void add_bytes(void *ctx, ssh_pump_channel_t *ch, const ssh_pump_bytes_t *bytes)
{
  sum_t *sum = ctx;
  if (ssh_pump_context(ch) == sum->control)
    return;
  sum->up += bytes->out;
  sum->down += bytes->in;
}

void carry_bytes(const carry_t *t, uint64_t *up, uint64_t *down)
{
  sum_t sum = {t->link->ask, t->bytes_up, t->bytes_down};
  if (t->link->pump)
    ssh_pump_each(t->link->pump, add_bytes, &sum);
  *up = sum.up;
  *down = sum.down;
}
