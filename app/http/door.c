/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/door.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/http/delivery.h"
#include "app/http/intake.h"
#include "common/base/error.h"
#include "common/base/log.h"

static bool is_client(const listener_conf_t *conf, const ip_t *ip)
{
  for (size_t i = 0; i < conf->client_count; i++)
    if (ip_net_contains(&conf->clients[i], ip))
      return true;
  return conf->client_count == 0;
}

static bool is_balancer(const conn_env_t *env, const ip_t *ip)
{
  for (size_t i = 0; i < env->balancer_count; i++)
    if (ip_net_contains(&env->balancers[i], ip))
      return true;
  return false;
}

/* Newcomers */

static bool make_place(const conn_t *newcomer)
{
  seat_t *victim = room_place_victim(&newcomer->seat);
  if (victim == NULL)
    return false;
  conn_cut(conn_of_seat(victim), "too-many-connections");
  return true;
}

/* TLS for the newcomer; an older handshake gives way if there are too many. */
static bool begin_handshake(conn_t *c)
{
  seat_t *victim = room_handshake_victim(&c->seat);
  if (victim != NULL)
    conn_cut(conn_of_seat(victim), "too-many-handshakes");
  c->out.tls = c->tls = tls_link_new(c->listener->conf->tls);
  return c->tls != NULL && room_begin_handshake(&c->seat) == SMPL_OK;
}

static int read_peer(conn_t *c)
{
  struct sockaddr_storage sa;
  endpoint_t peer;
  int len = sizeof sa;
  int err = uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len);
  if (err < 0 || endpoint_from_sockaddr((struct sockaddr *)&sa, &peer))
    return SMPL_ESYS;
  endpoint_format(&peer, c->client);
  c->seat.peer = peer.ip;
  c->seat.balancer = is_balancer(c->listener->env, &peer.ip);
  return SMPL_OK;
}

/* Takes the connection from the event loop, or the descriptor if there is one. */
static int take_connection(conn_t *c, uv_tcp_t *tcp, int fd)
{
  if (fd >= 0)
    return uv_tcp_open(&c->tcp, fd);
  return uv_accept((uv_stream_t *)tcp, (uv_stream_t *)&c->tcp);
}

/* NULL when there is no memory. */
static conn_t *new_conn(conn_listener_t *listener)
{
  conn_env_t *env = listener->env;
  conn_t *c = calloc(1, sizeof *c);
  if (c == NULL) {
    log_error("out of memory; a connection was not accepted");
    return NULL;
  }
  if (uv_tcp_init(env->loop, &c->tcp) < 0) {
    free(c);
    return NULL;
  }
  c->listener = listener;
  c->tcp.data = c;
  c->seat.room = env->room;
  c->seat.places = &listener->places;
  c->seat.wait.phase = listener->conf->tls != NULL ? PHASE_HANDSHAKE : PHASE_IDLE;
  c->out = (output_t){.tcp = &c->tcp, .piece = env->piece, .calls = &delivery_outputs, .ctx = c};
  listener->connections++;
  listener->stats.accepted++;
  env->connections++;
  phase_begin(&listener->phases, &c->seat.wait);
  conn_enter(c, c->seat.wait.phase);
  return c;
}

/* NULL, or why it cannot stay. */
static const char *take_in(conn_t *c, uv_tcp_t *tcp, int fd)
{
  conn_listener_t *listener = c->listener;
  if (take_connection(c, tcp, fd) < 0 || read_peer(c))
    return "connection-gone";
  if (!is_client(listener->conf, &c->seat.peer))
    return "client-not-admitted"; /* before a byte is read */
  if (room_enter(&c->seat) || (listener->conf->tls != NULL && !begin_handshake(c)))
    return "out-of-memory";
  if (listener->env->draining ||
      (listener->connections > listener->env->limits.connections && !make_place(c)))
    return "too-many-connections";
  return NULL;
}

static void accept_one(conn_listener_t *listener, uv_tcp_t *tcp, int fd)
{
  conn_t *c = new_conn(listener);
  if (c == NULL) {
    if (fd >= 0)
      close(fd);
    return;
  }
  const char *reason = take_in(c, tcp, fd);
  if (reason != NULL)
    conn_cut(c, reason);
  else
    intake_start(c);
}

void door_accept(conn_listener_t *listener, uv_tcp_t *tcp)
{
  accept_one(listener, tcp, -1);
}

void door_accept_waiting(conn_listener_t *listener, uv_tcp_t *tcp)
{
  int from, fd;
  if (listener->pace.accept_waits)
    accept_one(listener, tcp, -1);
  listener->pace.accept_waits = false;
  if (uv_fileno((const uv_handle_t *)tcp, &from) < 0)
    return;
  for (int i = 0; i < LIMIT_BACKLOG && (fd = accept4(from, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;
       i++)
    accept_one(listener, tcp, fd);
}

/* After a reload */

/* True if it was cut. */
static bool judge(conn_t *c)
{
  bool client = is_client(c->listener->conf, &c->seat.peer);
  bool balancer = is_balancer(c->listener->env, &c->seat.peer);
  bool waits = c->seat.wait.phase == PHASE_IDLE && !conn_has_unread(c);
  c->last = balancer && !c->seat.balancer;
  if (client && (balancer || !c->seat.balancer) && !(c->last && waits))
    return false;
  conn_cut(c, client ? "balancers-changed" : "client-not-admitted");
  return true;
}

size_t door_judge_all(conn_listener_t *listener)
{
  size_t cut = 0;
  for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
    for (phased_t *at = listener->phases.lists[phase].first, *next; at != NULL; at = next) {
      next = at->next;
      cut += judge(conn_of_wait(at));
    }
  }
  return cut;
}
