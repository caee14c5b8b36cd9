/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/opening.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* One connect that is under way. Freed when its handle has closed. */
typedef struct attempt {
  uv_poll_t poll;
  struct opening *opening;
  endpoint_t address;
  int fd;
  uint64_t give_up; /* monotonic ms; only while another address is left to try */
} attempt_t;

struct opening {
  const finder_world_t *world;
  char user[CONFIG_NAME_MAX];
  finder_t *finder;
  finder_result_t found;
  ip_t addrs[LOOKUP_ADDRS_MAX]; /* the checked ones, in the order of trying */
  size_t at;                    /* the next of them */
  attempt_t *attempts[OPENING_ATTEMPTS_MAX];
  size_t running;
  uint64_t deadline; /* monotonic ms */
  uint64_t next_at;  /* when the next address is tried, whatever becomes of those before */
  reason_t failed;   /* why the last attempt did */
  uv_timer_t timer;
  opening_cb cb;
  void *ctx;
  opening_result_t result;
};

static void free_attempt(uv_handle_t *poll)
{
  free(poll->data);
}

static void free_opening(uv_handle_t *timer)
{
  free(timer->data);
}

/* Stops an attempt and takes its socket out: the caller's. */
static int stop_attempt(opening_t *o, size_t i)
{
  attempt_t *a = o->attempts[i];
  int fd = a->fd;
  uv_poll_stop(&a->poll);
  uv_close((uv_handle_t *)&a->poll, free_attempt);
  o->running--;
  memmove(&o->attempts[i], &o->attempts[i + 1], (o->running - i) * sizeof(attempt_t *));
  return fd;
}

static void stop_all(opening_t *o)
{
  uv_timer_stop(&o->timer);
  while (o->running > 0)
    close(stop_attempt(o, 0));
}

static void dispose(opening_t *o)
{
  stop_all(o);
  uv_close((uv_handle_t *)&o->timer, free_opening);
}

static void finish(opening_t *o, reason_t reason)
{
  stop_all(o);
  if (reason != REASON_NONE && o->result.fd >= 0) {
    close(o->result.fd);
    o->result.fd = -1;
  }
  o->result.reason = reason;
  o->cb(o->ctx, &o->result);
  dispose(o);
}

static reason_t reason_of(int error)
{
  return error == ECONNREFUSED ? REASON_CONNECTION_REFUSED
         : error == ETIMEDOUT  ? REASON_CONNECT_TIMEOUT
                               : REASON_TARGET_UNREACHABLE;
}

/* The address to connect from, of the target's family. False: connect_from names none of it. */
static bool source_for(const config_t *c, const ip_t *target, endpoint_t *source, bool *bind_it)
{
  const ip_t *from = c->connect_from.items;
  *bind_it = c->connect_from.count > 0;
  for (size_t i = 0; i < c->connect_from.count; i++) {
    if (ip_is_v4(&from[i]) == ip_is_v4(target)) {
      *source = (endpoint_t){from[i], 0};
      return true;
    }
  }
  return c->connect_from.count == 0;
}

static reason_t prepare_socket(int fd, const endpoint_t *source, bool bind_it)
{
  int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
    return REASON_TARGET_UNREACHABLE;
  if (!bind_it)
    return REASON_NONE;
  struct sockaddr_storage from;
  socklen_t from_len = endpoint_to_sockaddr(source, &from);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&from, from_len) == 0)
    return REASON_NONE;
  /* connect_from names an address that this machine has not, or not yet. */
  return errno == EADDRNOTAVAIL ? REASON_NO_SOURCE_ADDRESS : REASON_TARGET_UNREACHABLE;
}

/* REASON_NONE with the socket in *fd, or why there is none. */
static reason_t begin_connect(const opening_t *o, const endpoint_t *to, int *fd)
{
  endpoint_t source;
  bool bind_it;
  struct sockaddr_storage sa;
  *fd = -1;
  if (!source_for(o->world->config, &to->ip, &source, &bind_it))
    return REASON_NO_SOURCE_ADDRESS;
  socklen_t len = endpoint_to_sockaddr(to, &sa);
  *fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (*fd < 0)
    return REASON_TARGET_UNREACHABLE;
  reason_t reason = prepare_socket(*fd, &source, bind_it);
  if (reason == REASON_NONE && connect(*fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
    reason = reason_of(errno);
  if (reason != REASON_NONE) {
    close(*fd);
    *fd = -1;
  }
  return reason;
}

static void go_on(opening_t *o);

/* The first that stands is taken, the others are closed. The policy may have changed while the target took
 * its time. */
static void connected(opening_t *o)
{
  const opening_result_t *r = &o->result;
  finish(o, finder_judge_address(o->world->config, o->user, r->is_ip, r->name, &r->address).reason);
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
  (void)events;
  attempt_t *a = poll->data;
  opening_t *o = a->opening;
  size_t i = 0;
  int error = 0;
  socklen_t len = sizeof error;
  /* A refused connection comes as an error of the poll: the socket knows better. */
  if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || (status < 0 && error == 0))
    error = ECONNABORTED;
  while (o->attempts[i] != a)
    i++;
  endpoint_t address = a->address;
  int fd = stop_attempt(o, i);
  if (error == 0) {
    o->result.address = address;
    o->result.fd = fd;
    connected(o);
    return;
  }
  close(fd);
  o->result.address = address;
  o->failed = reason_of(error);
  o->next_at = 0; /* no need to wait for the next */
  go_on(o);
}

typedef enum start { START_USELESS, START_UNDER_WAY, START_STANDS } start_t;

/* Whether a connect has come to its end already, as one within this machine has: no event need be waited for.
 */
static bool is_decided(int fd, int *error)
{
  struct pollfd p = {fd, POLLOUT, 0};
  socklen_t len = sizeof *error;
  if (poll(&p, 1, 0) <= 0)
    return false;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, error, &len) < 0)
    *error = ECONNABORTED;
  return true;
}

static bool watch(opening_t *o, const endpoint_t *to, int fd, uint64_t now)
{
  attempt_t *a = calloc(1, sizeof *a);
  if (a == NULL || uv_poll_init(o->world->loop, &a->poll, fd) != 0) {
    free(a);
    return false;
  }
  a->poll.data = a;
  a->opening = o;
  a->address = *to;
  a->fd = fd;
  a->give_up = now + OPENING_ADDRESS_MS;
  o->attempts[o->running++] = a;
  uv_poll_start(&a->poll, UV_WRITABLE, on_writable);
  return true;
}

/* START_USELESS: o->failed says why. START_STANDS: o->result has it. */
static start_t start_attempt(opening_t *o, const endpoint_t *to, uint64_t now)
{
  int fd, error = 0;
  o->result.address = *to;
  reason_t reason = begin_connect(o, to, &fd);
  if (reason != REASON_NONE) {
    o->failed = reason;
    return START_USELESS;
  }
  bool decided = is_decided(fd, &error);
  if (decided && error == 0) {
    o->result.fd = fd;
    return START_STANDS;
  }
  if (!decided && watch(o, to, fd, now))
    return START_UNDER_WAY;
  close(fd);
  o->failed = error == 0 ? REASON_TARGET_UNREACHABLE : reason_of(error);
  return START_USELESS;
}

static void on_timer(uv_timer_t *timer)
{
  go_on(timer->data);
}

/* While addresses are left that were not tried, none holds a place for longer than its time. */
static void give_up_old(opening_t *o, uint64_t now)
{
  while (o->at < o->found.count && o->running > 0 && now >= o->attempts[0]->give_up) {
    close(stop_attempt(o, 0));
    o->failed = REASON_CONNECT_TIMEOUT;
  }
}

static bool may_start(const opening_t *o, uint64_t now)
{
  return o->at < o->found.count && o->running < OPENING_ATTEMPTS_MAX &&
         (now >= o->next_at || o->running == 0);
}

/* Starts what is due, and sleeps until something is again (RFC 8305 section 5). */
static void go_on(opening_t *o)
{
  uint64_t now = clock_mono_ms();
  if (now >= o->deadline) {
    finish(o, o->running > 0 ? REASON_CONNECT_TIMEOUT : o->failed);
    return;
  }
  give_up_old(o, now);
  while (may_start(o, now)) {
    endpoint_t to = {o->addrs[o->at++], o->found.port};
    start_t started = start_attempt(o, &to, now);
    if (started == START_STANDS) {
      connected(o);
      return;
    }
    if (started == START_UNDER_WAY)
      o->next_at = now + OPENING_STAGGER_MS;
  }
  if (o->running == 0) {
    finish(o, o->failed);
    return;
  }
  uint64_t until = o->deadline;
  if (o->at < o->found.count) {
    uint64_t due = o->running < OPENING_ATTEMPTS_MAX ? o->next_at : o->attempts[0]->give_up;
    until = due < until ? due : until;
  }
  uv_timer_start(&o->timer, on_timer, until - now, 0);
}

void opening_order(const ip_t *in, size_t count, ip_t *out)
{
  bool v4 = count > 0 && ip_is_v4(&in[0]); /* the family whose turn it is */
  size_t next[2] = {0, 0};                 /* where each family's search goes on: IPv6, IPv4 */
  for (size_t n = 0; n < count; v4 = !v4) {
    size_t *at = &next[v4];
    while (*at < count && ip_is_v4(&in[*at]) != v4)
      ++*at;
    if (*at < count)
      out[n++] = in[(*at)++];
  }
}

static void on_found(void *ctx, const finder_result_t *found)
{
  opening_t *o = ctx;
  o->finder = NULL;
  o->found = *found;
  o->result.is_ip = found->is_ip;
  o->result.address.port = found->port;
  memcpy(o->result.name, found->name, sizeof o->result.name);
  if (found->reason != REASON_NONE) {
    finish(o, found->reason);
    return;
  }
  opening_order(found->addrs, found->count, o->addrs);
  o->deadline = clock_mono_ms() + OPENING_TOTAL_MS;
  o->failed = REASON_TARGET_UNREACHABLE;
  go_on(o);
}

void opening_start(const finder_world_t *world, const char *user, const char *host, uint16_t port,
                   opening_cb cb, void *ctx, opening_t **out)
{
  *out = NULL;
  opening_t *o = calloc(1, sizeof *o);
  if (o == NULL || port == 0 || text_copy(o->user, sizeof o->user, user)) {
    free(o);
    cb(ctx, &(opening_result_t){.reason = REASON_BAD_TARGET, .fd = -1});
    return;
  }
  o->world = world;
  o->cb = cb;
  o->ctx = ctx;
  o->result.fd = -1;
  o->timer.data = o;
  uv_timer_init(world->loop, &o->timer);
  *out = o; /* before the callback may clear it through ctx */
  finder_start(world, user, host, port, on_found, o, &o->finder);
}

void opening_cancel(opening_t *o)
{
  if (o == NULL)
    return;
  finder_cancel(o->finder);
  dispose(o);
}
