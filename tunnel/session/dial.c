/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/dial.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/ip.h"
#include "common/ssh/ssh_pump.h"

extern char **environ;

enum { USER_TIMEOUT_MS = 20000 };

typedef struct race {
  endpoint_t addresses[DIAL_ADDRESSES_MAX];
  size_t count;
  size_t started;
  struct pollfd fds[DIAL_ADDRESSES_MAX]; /* -1: failed or not started; POLLOUT: not connected yet */
  size_t pending;
  int connected;       /* how many of them are, and have said nothing */
  uint64_t started_at; /* the last of them */
  int error;           /* of the last that failed */
  const dial_from_t *from;
  endpoint_t source[2]; /* of IPv4 and IPv6, from bind_address */
  bool has_source[2];
} race_t;

static bool is_there(const race_t *race, const endpoint_t *ep)
{
  for (size_t i = 0; i < race->count; i++) {
    if (ip_equal(&race->addresses[i].ip, &ep->ip))
      return true;
  }
  return false;
}

/* Families take turns, in the order the system prefers. */
static void interleave(race_t *race, const struct addrinfo *list)
{
  const struct addrinfo *next[2] = {list, list};
  int family = list ? list->ai_family : AF_UNSPEC;
  for (int turn = 0; race->count < DIAL_ADDRESSES_MAX && (next[0] || next[1]); turn ^= 1) {
    const struct addrinfo **at = &next[turn];
    while (*at && ((*at)->ai_family == family) != (turn == 0))
      *at = (*at)->ai_next;
    endpoint_t ep;
    if (*at && endpoint_from_sockaddr((*at)->ai_addr, &ep) == SMPL_OK && !is_there(race, &ep))
      race->addresses[race->count++] = ep;
    if (*at)
      *at = (*at)->ai_next;
  }
}

static int look_up(race_t *race, const char *host, uint16_t port, diag_t *diag)
{
  char service[8];
  snprintf(service, sizeof service, "%u", port);
  struct addrinfo hints = {.ai_family = race->from->family, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;
  int rc = getaddrinfo(host, service, &hints, &list);
  if (rc != 0)
    return diag_fail(diag, SMPL_ENOENT, "the bastion %s cannot be found: %s", host, gai_strerror(rc));
  interleave(race, list);
  freeaddrinfo(list);
  return race->count ? SMPL_OK : diag_fail(diag, SMPL_ENOENT, "the bastion %s has no address", host);
}

/* BindAddress: the first address of each family, as ssh takes it. */
static int look_up_source(race_t *race, diag_t *diag)
{
  const char *name = race->from->bind_address;
  struct addrinfo hints = {.ai_family = race->from->family,
                           .ai_socktype = SOCK_STREAM,
                           .ai_flags = AI_PASSIVE};
  struct addrinfo *list = NULL;
  if (!name)
    return SMPL_OK;
  int rc = getaddrinfo(name, NULL, &hints, &list);
  if (rc != 0)
    return diag_fail(diag, SMPL_ENOENT, "BindAddress %s cannot be found: %s", name, gai_strerror(rc));
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    int six = a->ai_family == AF_INET6;
    if (!race->has_source[six] && endpoint_from_sockaddr(a->ai_addr, &race->source[six]) == SMPL_OK)
      race->has_source[six] = true;
  }
  freeaddrinfo(list);
  return SMPL_OK;
}

/* errno where it cannot be bound so. */
static int bind_source(const race_t *race, int fd, int family)
{
  const char *interface = race->from->bind_interface;
  int six = family == AF_INET6;
  struct sockaddr_storage sa;
  if (interface && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) < 0)
    return errno;
  if (!race->from->bind_address)
    return 0;
  if (!race->has_source[six])
    return EADDRNOTAVAIL;
  socklen_t len = endpoint_to_sockaddr(&race->source[six], &sa);
  return bind(fd, (struct sockaddr *)&sa, len) < 0 ? errno : 0;
}

static void start_next(race_t *race)
{
  size_t i = race->started++;
  race->started_at = clock_mono_ms();
  struct sockaddr_storage sa;
  socklen_t len = endpoint_to_sockaddr(&race->addresses[i], &sa);
  int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    race->error = errno;
    return;
  }
  int unbound = bind_source(race, fd, sa.ss_family);
  if (unbound)
    errno = unbound;
  if (unbound || ssh_pump_prepare_socket(fd, USER_TIMEOUT_MS) != SMPL_OK ||
      (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)) {
    race->error = errno;
    close(fd);
    return;
  }
  race->fds[i] = (struct pollfd){fd, POLLOUT, 0};
  race->pending++;
}

static void drop(race_t *race, size_t i, int error)
{
  if (race->fds[i].events == POLLIN)
    race->connected--;
  race->error = error;
  close(race->fds[i].fd);
  race->fds[i].fd = -1;
  race->pending--;
}

/* A socket that poll has something to say of. Whether it has won. */
static bool advance(race_t *race, size_t i)
{
  int error = 0;
  socklen_t len = sizeof error;
  getsockopt(race->fds[i].fd, SOL_SOCKET, SO_ERROR, &error, &len);
  if (error != 0) {
    drop(race, i, error);
    return false;
  }
  if (race->count == 1)
    return true;
  if (race->fds[i].events == POLLOUT) {
    race->fds[i].events = POLLIN;
    race->connected++;
    return false;
  }
  char byte;
  if (recv(race->fds[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
    return true;
  drop(race, i, ECONNRESET); /* it ends without a word: another may have one */
  return false;
}

/* The index of the socket that has won, or -1. */
static int winner(race_t *race)
{
  for (size_t i = 0; i < race->started; i++) {
    if (race->fds[i].fd >= 0 && race->fds[i].revents && advance(race, i))
      return (int)i;
  }
  return -1;
}

/* The first that is connected, or -1. */
static int silent_one(const race_t *race)
{
  for (size_t i = 0; i < race->started; i++) {
    if (race->fds[i].fd >= 0 && race->fds[i].events == POLLIN)
      return (int)i;
  }
  return -1;
}

/* " (tried ...)"; "" when that is what the user wrote. */
static void describe_tried(const race_t *race, const char *host, char *buf, size_t cap)
{
  char only[IP_TEXT_MAX];
  buf[0] = '\0';
  if (race->started == 1 && strcmp(ip_format(&race->addresses[0].ip, only), host) == 0)
    return;
  size_t used = 0;
  for (size_t i = 0; i < race->started; i++) {
    char text[IP_TEXT_MAX];
    int n = snprintf(buf + used, cap - used, "%s%s", used ? ", " : " (tried ",
                     ip_format(&race->addresses[i].ip, text));
    if (n < 0 || (size_t)n >= cap - used)
      return;
    used += (size_t)n;
  }
  if (used + 1 < cap)
    memcpy(buf + used, ")", 2);
}

/* Milliseconds until the next address is tried, or the race is given up. */
static uint64_t due(const race_t *race, uint64_t until)
{
  uint64_t at = until;
  if (race->started < race->count)
    at = race->started_at + (race->connected > 0 ? DIAL_SPEAK_MS : DIAL_NEXT_MS);
  else if (race->connected > 0 && race->started_at + DIAL_SILENT_MS < until)
    at = race->started_at + DIAL_SILENT_MS;
  uint64_t now = clock_mono_ms();
  return at > now ? at - now : 0;
}

/* The index of the winner, or -1. */
static int run(race_t *race)
{
  uint64_t until =
      clock_mono_ms() + (race->from->timeout_s ? race->from->timeout_s * 1000ULL : DIAL_TIMEOUT_MS);
  race->error = ETIMEDOUT;
  while (clock_mono_ms() < until) {
    bool more = race->started < race->count;
    if (race->pending == 0 && !more)
      return -1;
    uint64_t wait = race->pending == 0 ? 0 : due(race, until);
    if (wait == 0 && more)
      start_next(race);
    else if (wait == 0)
      break;
    else
      poll(race->fds, race->started, (int)wait);
    int i = winner(race);
    if (i >= 0)
      return i;
  }
  return silent_one(race);
}

int dial(const char *host, uint16_t port, const dial_from_t *from, int *fd, diag_t *diag)
{
  race_t race = {.from = from};
  for (size_t i = 0; i < DIAL_ADDRESSES_MAX; i++)
    race.fds[i].fd = -1;
  int err = look_up(&race, host, port, diag);
  if (!err)
    err = look_up_source(&race, diag);
  if (err)
    return err;
  int first = run(&race);
  if (first >= 0) {
    *fd = race.fds[first].fd;
    race.fds[first].fd = -1;
  }
  for (size_t i = 0; i < race.started; i++) {
    if (race.fds[i].fd >= 0)
      close(race.fds[i].fd);
  }
  if (first < 0) {
    char tried[256];
    describe_tried(&race, host, tried, sizeof tried);
    const char *interface = from->bind_interface, *address = from->bind_address;
    return diag_fail(diag, SMPL_ECLOSED, "cannot reach the bastion %s port %u%s%s%s%s: %s%s%s", host, port,
                     interface ? " by BindInterface " : "", interface ? interface : "",
                     address ? " from BindAddress " : "", address ? address : "", strerror(race.error), tried,
                     port == 22 && race.error == ECONNREFUSED
                         ? "; a port other than 22 goes behind the bastion's name, as in HOST:PORT"
                         : "");
  }
  return SMPL_OK;
}

int dial_proxy(const char *command, pid_t *pid, int *fd, diag_t *diag)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return diag_fail_errno(diag, "ProxyCommand");
  const char *argv[] = {"sh", "-c", command, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  sigset_t pipe_signal;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  posix_spawnattr_init(&attr);
  posix_spawnattr_setsigdefault(&attr, &pipe_signal);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  int error = posix_spawn(pid, "/bin/sh", &actions, &attr, (char *const *)argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attr);
  close(ends[1]);
  if (error == 0 && ssh_pump_prepare_socket(ends[0], 0) == SMPL_OK) {
    *fd = ends[0];
    return SMPL_OK;
  }
  close(ends[0]);
  return diag_fail(diag, SMPL_ESYS, "ProxyCommand %s cannot be run: %s", command, strerror(error));
}
