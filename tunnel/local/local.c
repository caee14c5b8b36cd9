/* SPDX-License-Identifier: Apache-2.0 */
/* The local side: listeners, who may connect, SOCKS up to the target's name. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tunnel/local/system.h"
#include "tunnel/run/tunnel_state.h"

static void on_listener(uv_poll_t *poll, int status, int events);

bool local_bind(tunnel_t *t)
{
  const task_t *o = t->task;
  for (size_t i = 0; i < o->forward_count; i++) {
    route_t *r = &t->routes[t->route_count++];
    r->tunnel = t;
    r->forward = &o->forwards[i];
    r->port = r->forward->target_port;
    snprintf(r->name, sizeof r->name, "%s", r->forward->target);
    snprintf(r->host, sizeof r->host, "%s", r->forward->target);
    if (o->stdio)
      continue;
    diag_t diag = {0};
    if (listen_open(r->forward, o->any_user, &r->sockets, &diag) != SMPL_OK) {
      tunnel_fail(t, EXIT_CANNOT_BIND, NULL, diag.text);
      return false;
    }
    for (size_t k = 0; k < r->sockets.count; k++) {
      uv_poll_init_socket(&t->loop, &r->polls[k], r->sockets.fds[k]);
      r->polls[k].data = r;
    }
    if (r->forward->wide)
      say_note(t->say, "other machines can reach this port, and use it in your name");
  }
  return true;
}

void local_listen(tunnel_t *t)
{
  bool wanted = carry_count(t) < TUNNEL_CONNECTIONS_MAX && !uv_is_active((uv_handle_t *)&t->accept);
  for (size_t i = 0; i < t->route_count; i++) {
    route_t *r = &t->routes[i];
    if (r->listening == wanted)
      continue;
    r->listening = wanted;
    for (size_t k = 0; k < r->sockets.count; k++) {
      if (wanted)
        uv_poll_start(&r->polls[k], UV_READABLE, on_listener);
      else
        uv_poll_stop(&r->polls[k]);
    }
  }
}

void local_close(tunnel_t *t)
{
  for (size_t i = 0; i < t->route_count; i++) {
    route_t *r = &t->routes[i];
    for (size_t k = 0; k < r->sockets.count; k++) {
      uv_poll_stop(&r->polls[k]);
      uv_close((uv_handle_t *)&r->polls[k], NULL);
    }
    listen_close(&r->sockets);
  }
}

/* ---- who may connect ---- */

static const char *name_user(uid_t uid, char *buf, size_t cap)
{
  const struct passwd *pw = getpwuid(uid);
  snprintf(buf, cap, pw ? "%s (uid %u)" : "%suid %u", pw ? pw->pw_name : "", (unsigned)uid);
  return buf;
}

static bool is_allowed(tunnel_t *t, route_t *r, int fd)
{
  uid_t uid = 0;
  char user[128];
  if (t->task->any_user || r->forward->wide)
    return true;
  int err = system_peer_user(&t->peers, fd, &uid);
  if (err == SMPL_OK && uid == geteuid())
    return true;
  uint64_t now = clock_mono_ms();
  if (err != SMPL_ENOENT && (r->stranger_told_at == 0 || now - r->stranger_told_at >= TUNNEL_REPEAT_MS)) {
    r->stranger_told_at = now;
    if (err)
      say_event(t->say, "stranger", NULL,
                "a local connection is refused: the system does not tell whose it is (--any-user serves "
                "everybody)");
    else
      say_event(t->say, "stranger", json_pack("{s:i}", "uid", (int)uid),
                "a local connection of %s is refused: the grant is to you (--any-user serves everybody)",
                name_user(uid, user, sizeof user));
  }
  return false;
}

/* ---- SOCKS ---- */

static void on_poll_closed(uv_handle_t *handle)
{
  free(handle);
}

static void end_poll(connection_t *c)
{
  if (!c->poll)
    return;
  uv_poll_stop(c->poll);
  uv_close((uv_handle_t *)c->poll, on_poll_closed);
  c->poll = NULL;
}

static void refuse_socks(connection_t *c)
{
  if (c->socks->fault)
    say_step(c->tunnel->say, "a SOCKS client is turned away: %s", c->socks->fault);
  end_poll(c);
  close(c->fd);
  c->fd = -1;
  carry_free(c);
}

/* What was read so far leads to a target. */
static void take_target(connection_t *c)
{
  end_poll(c);
  c->host = strdup(c->socks->host);
  c->port = c->socks->port;
  if (!c->host) {
    refuse_socks(c);
    return;
  }
  carry_start(c);
}

static void on_socks(uv_poll_t *poll, int status, int events)
{
  connection_t *c = poll->data;
  uint8_t data[SOCKS_WANT_MAX];
  (void)events;
  for (;;) {
    ssize_t n = status < 0 ? 0 : recv(c->fd, data, c->socks->want, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    socks_step_t step = n > 0 ? socks_take(c->socks, data, (size_t)n) : SOCKS_BAD;
    if (n > 0 && c->socks->reply_len > 0 &&
        send(c->fd, c->socks->reply, c->socks->reply_len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
            (ssize_t)c->socks->reply_len)
      step = SOCKS_BAD;
    if (step == SOCKS_BAD) {
      refuse_socks(c);
      return;
    }
    if (step == SOCKS_TARGET) {
      take_target(c);
      return;
    }
  }
}

static void start_socks(tunnel_t *t, route_t *r, int fd)
{
  connection_t *c = carry_new(t, r, fd, CONNECTION_SOCKS);
  if (!c)
    return;
  c->socks = malloc(sizeof *c->socks);
  c->poll = malloc(sizeof *c->poll);
  if (!c->socks || !c->poll || uv_poll_init_socket(&t->loop, c->poll, fd) != 0) {
    free(c->poll);
    c->poll = NULL;
    carry_free(c);
    return;
  }
  c->until = clock_mono_ms() + SOCKS_HANDSHAKE_MS;
  c->poll->data = c;
  socks_start(c->socks);
  tunnel_tick(t);
  uv_poll_start(c->poll, UV_READABLE, on_socks);
}

/* ---- accepting ---- */

static void on_accept_again(uv_timer_t *timer)
{
  (void)timer; /* the turn looks whether it may go on */
}

void local_adopt(tunnel_t *t, route_t *r, int fd)
{
  connection_t *c = carry_new(t, r, fd, CONNECTION_HELD);
  if (c)
    carry_start(c);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
  route_t *r = poll->data;
  tunnel_t *t = r->tunnel;
  int listener = -1;
  (void)status;
  (void)events;
  uv_fileno((const uv_handle_t *)poll, &listener);
  while (carry_count(t) < TUNNEL_CONNECTIONS_MAX) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
      uv_timer_start(&t->accept, on_accept_again, TUNNEL_STEP_MS, 0); /* it would be readable for ever */
    if (fd < 0)
      return;
    if (!is_allowed(t, r, fd)) {
      carry_reset(fd);
      continue;
    }
    ssh_pump_prepare_socket(fd, 0);
    if (r->forward->kind == FORWARD_SOCKS)
      start_socks(t, r, fd);
    else
      local_adopt(t, r, fd);
  }
}
