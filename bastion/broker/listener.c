/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/broker/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bastion/session/life.h"
#include "common/net/bind.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

struct ssh_listener {
  list_t link;
  broker_t *broker;
  uv_poll_t poll;
  endpoint_t address;
  int fd;
  bool fresh; /* opened by the call that is under way */
};

/* ---- who may come in ---- */

/* A line of each rule in LISTENER_LOG_MS: a flood does not fill the log, and hides no other rule. */
void listener_log_door(broker_t *b, const endpoint_t *newcomer, door_rule_t rule, const char *what)
{
  char text[ENDPOINT_TEXT_MAX];
  uint64_t now = clock_mono_ms(), *last = &b->door_logged_at[rule];
  if (*last != 0 && now - *last < LISTENER_LOG_MS)
    return;
  *last = now;
  log_warn("connection from %s: %s (%s; %llu newcomers closed and %llu that gave way by this rule so far)",
           endpoint_format(newcomer, text), what, door_rule_name(rule), (unsigned long long)b->dropped[rule],
           (unsigned long long)b->sessions.counts.gave_way[rule]);
}

/* A line before the version string is allowed (RFC 4253 §4.2); ssh -v shows it. */
static void drop(broker_t *b, int fd, const endpoint_t *from, door_rule_t rule, const char *words,
                 const char *for_log)
{
  char line[MSG_TEXT_MAX];
  int len = snprintf(line, sizeof line, "smplkit bastion: %s, try again later\r\n", words);
  ssize_t ignored = send(fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)ignored;
  close(fd);
  b->dropped[rule]++;
  listener_log_door(b, from, rule, for_log);
}

static void drop_penalised(broker_t *b, int fd, const endpoint_t *from, door_rule_t rule,
                           const ip_net_t *network)
{
  char net[IP_NET_TEXT_MAX], words[MSG_TEXT_MAX], text[MSG_TEXT_MAX];
  const char *what =
      rule == DOOR_FAILED ? "too many failed logins from" : "too many connections that try no login from";
  snprintf(words, sizeof words, "%s here", what);
  snprintf(text, sizeof text, "%s %s", what, ip_net_format(network, net));
  drop(b, fd, from, rule, words, text);
}

/* DOOR_OPEN, or for what; *network is the one that did it. */
static door_rule_t penalised(broker_t *b, const ip_t *source, ip_net_t *network)
{
  static const door_rule_t rules[] = {
      [PENALTY_NONE] = DOOR_OPEN, [PENALTY_FAILED] = DOOR_FAILED, [PENALTY_SILENT] = DOOR_SILENT};
  uint64_t now = clock_mono_ms();
  if (config_is_exempt(b->config, source))
    return DOOR_OPEN;
  return rules[penalty_judge(b->host.penalties, source, known_is(b->host.known, source, now),
                             &b->config->penalties.silent, now, network)];
}

static void let_in(broker_t *b, int fd, const endpoint_t *from)
{
  b->accepted++;
  ip_net_t network;
  door_rule_t closed_by = penalised(b, &from->ip, &network);
  if (closed_by != DOOR_OPEN) {
    drop_penalised(b, fd, from, closed_by, &network);
    return;
  }
  closed_by = life_start(&b->sessions, fd, from);
  if (closed_by != DOOR_OPEN)
    drop(b, fd, from, closed_by, "too many connections", "too many connections");
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
  ssh_listener_t *l = poll->data;
  broker_t *b = l->broker;
  (void)events;
  for (int i = 0; status >= 0 && i < LISTENER_BATCH && b->accepting; i++) {
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log_error("a connection cannot be accepted: %s", strerror(errno));
        listener_accept(b, false); /* the sweep starts it again */
      }
      return;
    }
    endpoint_t from;
    if (endpoint_from_sockaddr((struct sockaddr *)&sa, &from)) {
      close(fd);
      continue;
    }
    let_in(b, fd, &from);
  }
}

static int bind_fd(const endpoint_t *address, bool early, int *fd)
{
  int on = 1;
  int family = ip_is_v4(&address->ip) ? AF_INET : AF_INET6;
  *fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (*fd < 0)
    return SMPL_ESYS;
  setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (family == AF_INET6)
    setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind_listener(*fd, address, early, true) == 0 && listen(*fd, LISTENER_BACKLOG) == 0)
    return SMPL_OK;
  int saved = errno;
  close(*fd);
  errno = saved;
  return SMPL_ESYS;
}

static int explain_bind(const endpoint_t *address, const config_t *config, diag_t *diag)
{
  char text[ENDPOINT_TEXT_MAX];
  endpoint_format(address, text);
  if (errno == EADDRINUSE)
    return diag_fail(diag, SMPL_EBUSY,
                     "%s: address in use; stop the program that has it (ss -ltnp) or change listen in %s",
                     text, conf_path_of(config->conf));
  if (errno == EACCES)
    return diag_fail(diag, SMPL_EDENIED, "%s: ports below 1024 need root or CAP_NET_BIND_SERVICE", text);
  return diag_fail_errno(diag, "%s: cannot listen", text);
}

static bool same(const endpoint_t *a, const endpoint_t *b)
{
  return a->port == b->port && ip_equal(&a->ip, &b->ip);
}

static bool is_open(const broker_t *b, const endpoint_t *address)
{
  LIST_EACH(const ssh_listener_t, l, &b->listeners, link)
    if (same(&l->address, address))
      return true;
  return false;
}

static int open_one(broker_t *b, const endpoint_t *address, const config_t *config, diag_t *diag)
{
  ssh_listener_t *l = calloc(1, sizeof *l);
  if (l == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  l->fd = b->watching ? -1 : bind_inherited(address);
  if (l->fd < 0 && bind_fd(address, config->free_bind, &l->fd)) {
    free(l);
    return explain_bind(address, config, diag);
  }
  uv_poll_init(b->loop, &l->poll, l->fd);
  l->poll.data = l;
  l->broker = b;
  l->address = *address;
  l->fresh = true;
  list_add_first(&b->listeners, &l->link);
  if (b->accepting)
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
  return SMPL_OK;
}

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void close_one(ssh_listener_t *l)
{
  list_remove(&l->link);
  uv_poll_stop(&l->poll);
  close(l->fd);
  uv_close((uv_handle_t *)&l->poll, on_closed);
}

int listener_open_all(broker_t *b, const config_t *config, diag_t *diag)
{
  const endpoint_t *want = config->listen.items;
  int err = SMPL_OK;
  for (size_t i = 0; i < config->listen.count && !err; i++)
    if (!is_open(b, &want[i]))
      err = open_one(b, &want[i], config, diag);
  LIST_EACH(ssh_listener_t, l, &b->listeners, link)
    if (err && l->fresh)
      close_one(l);
    else
      l->fresh = false;
  return err;
}

void listener_close_others(broker_t *b, const config_t *config)
{
  LIST_EACH(ssh_listener_t, l, &b->listeners, link) {
    bool keep = false;
    const endpoint_t *want = config != NULL ? config->listen.items : NULL;
    for (size_t i = 0; config != NULL && i < config->listen.count; i++)
      keep = keep || same(&want[i], &l->address);
    if (!keep)
      close_one(l);
  }
}

void listener_accept(broker_t *b, bool on)
{
  if (on == b->accepting)
    return;
  b->accepting = on;
  LIST_EACH(ssh_listener_t, l, &b->listeners, link) {
    if (on)
      uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
    else
      uv_poll_stop(&l->poll);
  }
}
