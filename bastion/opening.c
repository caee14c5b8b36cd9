#include "bastion/opening.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"

struct opening {
  const finder_world_t *world;
  char user[CONFIG_NAME_MAX];
  finder_t *finder;
  finder_result_t found;
  size_t at;
  uint64_t deadline; /* monotonic ms */
  uv_poll_t *poll;   /* of the socket that is connecting */
  uv_timer_t timer;
  opening_cb cb;
  void *ctx;
  opening_result_t result;
};

static void free_handle(uv_handle_t *handle)
{
  free(handle);
}

static void free_opening(uv_handle_t *timer)
{
  free(timer->data);
}

/* Stops the attempt under way; its socket stays open. */
static void stop_attempt(opening_t *o)
{
  uv_timer_stop(&o->timer);
  if (o->poll != NULL) {
    uv_poll_stop(o->poll);
    uv_close((uv_handle_t *)o->poll, free_handle);
    o->poll = NULL;
  }
}

static void close_socket(opening_t *o)
{
  if (o->result.fd >= 0)
    close(o->result.fd);
  o->result.fd = -1;
}

static void dispose(opening_t *o)
{
  stop_attempt(o);
  uv_close((uv_handle_t *)&o->timer, free_opening);
}

static void finish(opening_t *o, reason_t reason)
{
  stop_attempt(o);
  if (reason != REASON_NONE)
    close_socket(o);
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

/* 0 or errno. The socket is in o->result.fd. */
static int begin_connect(opening_t *o, const endpoint_t *to)
{
  endpoint_t source;
  bool bind_it;
  int on = 1;
  struct sockaddr_storage sa;
  if (!source_for(o->world->config, &to->ip, &source, &bind_it))
    return EADDRNOTAVAIL;
  socklen_t len = endpoint_to_sockaddr(to, &sa);
  o->result.fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (o->result.fd < 0)
    return errno;
  if (setsockopt(o->result.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
    return errno;
  if (bind_it) {
    struct sockaddr_storage from;
    socklen_t from_len = endpoint_to_sockaddr(&source, &from);
    setsockopt(o->result.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(o->result.fd, (struct sockaddr *)&from, from_len) < 0)
      return errno;
  }
  if (connect(o->result.fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
    return errno;
  return 0;
}

static void try_next(opening_t *o, reason_t reason);

static void on_timeout(uv_timer_t *timer)
{
  opening_t *o = timer->data;
  try_next(o, REASON_CONNECT_TIMEOUT);
}

/* The policy may have changed while the target took its time. */
static void connected(opening_t *o)
{
  const opening_result_t *r = &o->result;
  finish(o, finder_judge_address(o->world->config, o->user, r->is_ip, r->name, &r->address).reason);
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
  (void)events;
  opening_t *o = poll->data;
  int error = 0;
  socklen_t len = sizeof error;
  /* A refused connection comes as an error of the poll: the socket knows better. */
  if (getsockopt(o->result.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || (status < 0 && error == 0))
    error = ECONNABORTED;
  if (error == 0)
    connected(o);
  else
    try_next(o, reason_of(error));
}

static bool watch(opening_t *o)
{
  o->poll = calloc(1, sizeof *o->poll);
  if (o->poll == NULL)
    return false;
  if (uv_poll_init(o->world->loop, o->poll, o->result.fd) != 0) {
    free(o->poll);
    o->poll = NULL;
    return false;
  }
  o->poll->data = o;
  return uv_poll_start(o->poll, UV_WRITABLE, on_writable) == 0;
}

/* reason: why the one before failed. */
static void try_next(opening_t *o, reason_t reason)
{
  for (;;) {
    stop_attempt(o);
    close_socket(o);
    uint64_t now = clock_mono_ms();
    if (o->at == o->found.count || now >= o->deadline) {
      finish(o, reason);
      return;
    }
    o->result.address = (endpoint_t){o->found.addrs[o->at++], o->found.port};
    int error = begin_connect(o, &o->result.address);
    if (error == 0 && watch(o)) {
      uint64_t left = o->deadline - now;
      uint64_t wait = o->at < o->found.count && left > OPENING_ADDRESS_MS ? OPENING_ADDRESS_MS : left;
      uv_timer_start(&o->timer, on_timeout, wait, 0);
      return;
    }
    reason = error == 0 ? REASON_TARGET_UNREACHABLE : reason_of(error);
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
  o->deadline = clock_mono_ms() + OPENING_TOTAL_MS;
  try_next(o, REASON_TARGET_UNREACHABLE);
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
  stop_attempt(o);
  close_socket(o);
  dispose(o);
}
