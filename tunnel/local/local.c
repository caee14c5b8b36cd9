/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/local/local.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/ssh/ssh_pump.h"
#include "tunnel/local/listen.h"
#include "tunnel/local/system.h"

/* Where one forward listens. */
typedef struct port {
  local_t *local;
  const forward_t *forward;
  listen_sockets_t sockets;
  uv_poll_t polls[LISTEN_SOCKETS_MAX];
  uint64_t stranger_told_at; /* when another user's connection was last said */
} port_t;

/* A connection that is saying its target. */
typedef struct greeting {
  struct greeting *prev, *next;
  port_t *port;
  int fd;
  uint64_t until;
  socks_t socks;
  uv_poll_t poll;
} greeting_t;

struct local {
  uv_loop_t *loop;
  say_t *say;
  bool any_user;
  local_hooks_t hooks;
  system_owners_t owners;
  uv_timer_t accept; /* descriptors had run out */
  uv_timer_t second; /* while somebody is saying its target */
  bool listening;    /* the polls are started */
  greeting_t *first;
  size_t greetings;
  size_t count;
  port_t ports[];
};

static void on_listener(uv_poll_t *poll, int status, int events);

local_t *local_new(uv_loop_t *loop, say_t *say, const forward_t *forwards, size_t count, bool any_user,
                   const local_hooks_t *hooks)
{
  local_t *l = calloc(1, sizeof *l + count * sizeof l->ports[0]);
  if (!l)
    return NULL;
  l->loop = loop;
  l->say = say;
  l->any_user = any_user;
  l->hooks = *hooks;
  l->count = count;
  for (size_t i = 0; i < count; i++)
    l->ports[i] = (port_t){.local = l, .forward = &forwards[i]};
  uv_timer_init(loop, &l->accept);
  uv_timer_init(loop, &l->second);
  l->second.data = l;
  l->owners = system_owners_open();
  return l;
}

int local_bind(local_t *l, diag_t *diag)
{
  for (size_t i = 0; i < l->count; i++) {
    port_t *p = &l->ports[i];
    int err = listen_open(p->forward, l->any_user, &p->sockets, diag);
    if (err)
      return err;
    for (size_t k = 0; k < p->sockets.count; k++) {
      uv_poll_init_socket(l->loop, &p->polls[k], p->sockets.fds[k]);
      p->polls[k].data = p;
    }
    if (p->forward->wide)
      say_note(l->say, "other machines can reach this port, and use it in your name");
  }
  return SMPL_OK;
}

uint16_t local_port(const local_t *l, size_t i)
{
  return l->ports[i].sockets.port;
}

size_t local_count(const local_t *l)
{
  return l->greetings;
}

void local_listen(local_t *l, bool wanted)
{
  wanted = wanted && !uv_is_active((uv_handle_t *)&l->accept);
  if (l->listening == wanted)
    return;
  l->listening = wanted;
  for (size_t i = 0; i < l->count; i++) {
    port_t *p = &l->ports[i];
    for (size_t k = 0; k < p->sockets.count; k++) {
      if (wanted)
        uv_poll_start(&p->polls[k], UV_READABLE, on_listener);
      else
        uv_poll_stop(&p->polls[k]);
    }
  }
}

/* ---- answers ---- */

void local_reset(int fd)
{
  struct linger hard = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(fd);
}

void local_refuse_socks(int fd, socks_code_t code)
{
  uint8_t answer[SOCKS_REPLY_SIZE];
  socks_answer(code, answer);
  ssize_t n = send(fd, answer, sizeof answer, MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)n;   /* the first bytes of a fresh socket fit, or its program has gone */
  close(fd); /* not reset: the answer is to arrive */
}

/* ---- who may connect ---- */

static const char *name_user(uid_t uid, char *buf, size_t cap)
{
  const struct passwd *pw = getpwuid(uid);
  snprintf(buf, cap, pw ? "%s (uid %u)" : "%suid %u", pw ? pw->pw_name : "", (unsigned)uid);
  return buf;
}

static bool is_allowed(port_t *p, int fd)
{
  local_t *l = p->local;
  uid_t uid = 0;
  char user[128];
  if (l->any_user || p->forward->wide)
    return true;
  int err = system_owner_of(&l->owners, fd, &uid);
  if (err == SMPL_OK && uid == geteuid())
    return true;
  uint64_t now = clock_mono_ms();
  if (err != SMPL_ENOENT && (p->stranger_told_at == 0 || now - p->stranger_told_at >= TUNNEL_REPEAT_MS)) {
    p->stranger_told_at = now;
    if (err)
      say_event(l->say, "stranger", NULL,
                "a local connection is refused: the system does not tell whose it is (--any-user serves "
                "everybody)");
    else
      say_event(l->say, "stranger", json_pack("{s:i}", "uid", (int)uid),
                "a local connection of %s is refused: the grant is to you (--any-user serves everybody)",
                name_user(uid, user, sizeof user));
  }
  return false;
}

/* ---- SOCKS ---- */

static void on_poll_closed(uv_handle_t *handle)
{
  free(handle->data);
}

/* It is not a greeting any more; its descriptor is the caller's. */
static int end_greeting(greeting_t *g)
{
  local_t *l = g->port->local;
  int fd = g->fd;
  if (g->prev)
    g->prev->next = g->next;
  else
    l->first = g->next;
  if (g->next)
    g->next->prev = g->prev;
  l->greetings--;
  uv_poll_stop(&g->poll);
  uv_close((uv_handle_t *)&g->poll, on_poll_closed);
  return fd;
}

static void refuse(greeting_t *g)
{
  if (g->socks.fault)
    say_step(g->port->local->say, "a SOCKS client is turned away: %s", g->socks.fault);
  close(end_greeting(g));
}

/* What was read so far leads to a target. */
static void take_target(greeting_t *g)
{
  port_t *p = g->port;
  local_t *l = p->local;
  l->hooks.on_connection(l->hooks.ctx, (size_t)(p - l->ports), end_greeting(g), g->socks.host, g->socks.port);
}

static void on_socks(uv_poll_t *poll, int status, int events)
{
  greeting_t *g = poll->data;
  uint8_t data[SOCKS_WANT_MAX];
  (void)events;
  for (;;) {
    ssize_t n = status < 0 ? 0 : recv(g->fd, data, g->socks.want, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    socks_step_t step = n > 0 ? socks_take(&g->socks, data, (size_t)n) : SOCKS_BAD;
    if (n > 0 && g->socks.reply_len > 0 &&
        send(g->fd, g->socks.reply, g->socks.reply_len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
            (ssize_t)g->socks.reply_len)
      step = SOCKS_BAD;
    if (step == SOCKS_BAD) {
      refuse(g);
      return;
    }
    if (step == SOCKS_TARGET) {
      take_target(g);
      return;
    }
  }
}

static void on_second(uv_timer_t *timer)
{
  local_t *l = timer->data;
  uint64_t now = clock_mono_ms();
  for (greeting_t *g = l->first, *next; g; g = next) {
    next = g->next;
    if (now >= g->until)
      local_reset(end_greeting(g));
  }
  if (!l->first)
    uv_timer_stop(timer);
}

static void start_socks(port_t *p, int fd)
{
  local_t *l = p->local;
  greeting_t *g = calloc(1, sizeof *g);
  if (!g || uv_poll_init_socket(l->loop, &g->poll, fd) != 0) {
    free(g);
    local_reset(fd);
    return;
  }
  g->port = p;
  g->fd = fd;
  g->until = clock_mono_ms() + SOCKS_HANDSHAKE_MS;
  g->poll.data = g;
  g->next = l->first;
  if (l->first)
    l->first->prev = g;
  l->first = g;
  l->greetings++;
  socks_start(&g->socks);
  if (!uv_is_active((uv_handle_t *)&l->second))
    uv_timer_start(&l->second, on_second, 1000, 1000);
  uv_poll_start(&g->poll, UV_READABLE, on_socks);
}

/* ---- accepting ---- */

static void on_accept_again(uv_timer_t *timer)
{
  (void)timer; /* the turn looks whether it may go on */
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
  port_t *p = poll->data;
  local_t *l = p->local;
  int listener = -1;
  (void)status;
  (void)events;
  uv_fileno((const uv_handle_t *)poll, &listener);
  while (l->hooks.has_room(l->hooks.ctx)) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
      uv_timer_start(&l->accept, on_accept_again, TUNNEL_STEP_MS, 0); /* it would be readable for ever */
    if (fd < 0)
      return;
    if (!is_allowed(p, fd)) {
      local_reset(fd);
      continue;
    }
    ssh_pump_prepare_socket(fd, 0);
    if (p->forward->kind == FORWARD_SOCKS)
      start_socks(p, fd);
    else
      l->hooks.on_connection(l->hooks.ctx, (size_t)(p - l->ports), fd, NULL, 0);
  }
}

/* ---- the end ---- */

void local_close(local_t *l)
{
  if (!l)
    return;
  for (size_t i = 0; i < l->count; i++) {
    port_t *p = &l->ports[i];
    for (size_t k = 0; k < p->sockets.count; k++) {
      uv_poll_stop(&p->polls[k]);
      uv_close((uv_handle_t *)&p->polls[k], NULL);
    }
    listen_close(&p->sockets);
  }
  while (l->first)
    local_reset(end_greeting(l->first));
}

void local_free(local_t *l)
{
  if (!l)
    return;
  system_owners_close(&l->owners);
  free(l);
}
