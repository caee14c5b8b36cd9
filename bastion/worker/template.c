/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/worker/template.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bastion/contract/msg.h"
#include "bastion/worker/worker.h"
#include "bastion/worker/worker_seal.h"
#include "common/base/error.h"
#include "common/base/log.h"

typedef struct child {
  uint64_t session;
  pid_t pid;
} child_t;

typedef struct template
{
  worker_ssh_t *ssh;
  uint32_t walls;
  int keys;
  int signals; /* signalfd of SIGCHLD */
  /* MSG_SPAWN's, until its MSG_SPAWN_PAIR */
  int client;
  uint64_t session;
  child_t *children;
  size_t count;
  size_t cap;
}
template_t;

/* Waits for room: the broker always reads, and what it must learn may not be lost. */
static int tell(const msg_t *m)
{
  for (;;) {
    int err = msg_send(TEMPLATE_SOCK_FD, m, -1);
    if (err != SMPL_EAGAIN)
      return err;
    struct pollfd p = {TEMPLATE_SOCK_FD, POLLOUT, 0};
    poll(&p, 1, -1);
  }
}

static int tell_child(msg_type_t type, uint64_t session, pid_t pid, int status)
{
  msg_t m;
  msg_init(&m, type, 0, session);
  m.child.pid = pid;
  m.child.status = status;
  return tell(&m);
}

static int reserve_child(template_t *t)
{
  if (t->count < t->cap)
    return SMPL_OK;
  size_t cap = t->cap ? t->cap * 2 : 64;
  child_t *children = realloc(t->children, cap * sizeof *children);
  if (children == NULL)
    return SMPL_ENOMEM;
  t->children = children;
  t->cap = cap;
  return SMPL_OK;
}

/* In the child: the pair and the client's socket on their numbers, nothing else open. */
static noreturn void become_worker(template_t *t, uint64_t session, int client, int pair)
{
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  int pair_high = fcntl(pair, F_DUPFD, WORKER_CLIENT_FD + 1);
  int client_high = fcntl(client, F_DUPFD, WORKER_CLIENT_FD + 1);
  if (pair_high < 0 || client_high < 0 || dup2(pair_high, WORKER_PAIR_FD) < 0 ||
      dup2(client_high, WORKER_CLIENT_FD) < 0 || close_range(WORKER_CLIENT_FD + 1, ~0u, 0) < 0 ||
      fcntl(WORKER_PAIR_FD, F_SETFL, O_NONBLOCK) < 0)
    _exit(WORKER_EXIT_BROKEN);
  worker_run(t->ssh, session, t->walls);
}

static int spawn(template_t *t, uint64_t session, int client, int pair)
{
  pid_t pid = reserve_child(t) == SMPL_OK ? fork() : -1;
  if (pid == 0)
    become_worker(t, session, client, pair);
  close(client);
  close(pair);
  if (pid < 0)
    return tell_child(MSG_EXITED, session, 0, WORKER_EXIT_BROKEN << 8);
  t->children[t->count++] = (child_t){session, pid};
  return tell_child(MSG_SPAWNED, session, pid, 0);
}

static void kill_session(const template_t *t, uint64_t session)
{
  for (size_t i = 0; i < t->count; i++) {
    if (t->children[i].session == session)
      kill(t->children[i].pid, SIGKILL);
  }
}

static int reap(template_t *t)
{
  struct signalfd_siginfo info;
  while (read(t->signals, &info, sizeof info) == (ssize_t)sizeof info) {
  }
  int status;
  pid_t pid;
  int err = SMPL_OK;
  while (!err && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (size_t i = 0; i < t->count; i++) {
      if (t->children[i].pid != pid)
        continue;
      err = tell_child(MSG_EXITED, t->children[i].session, pid, status);
      t->children[i] = t->children[--t->count];
      break;
    }
  }
  return err;
}

static int on_message(template_t *t, const msg_t *m, int fd)
{
  diag_t diag = {0};
  switch ((msg_type_t)m->h.type) {
  case MSG_HOST_KEY:
    if (worker_ssh_add_key(t->ssh, m->host_key.base64, t->keys++, &diag) == SMPL_OK)
      return SMPL_OK;
    log_error("%s", diag.text);
    return SMPL_EINVAL;
  case MSG_SPAWN:
    if (t->client >= 0)
      close(t->client);
    t->client = fd;
    t->session = m->h.session;
    return SMPL_OK;
  case MSG_SPAWN_PAIR:
    if (t->client < 0 || m->h.session != t->session) {
      close(fd);
      return SMPL_EPROTO;
    }
    int client = t->client;
    t->client = -1;
    return spawn(t, m->h.session, client, fd);
  case MSG_KILL:
    kill_session(t, m->h.session);
    return SMPL_OK;
  default:
    return SMPL_EPROTO;
  }
}

static int drain(template_t *t)
{
  for (;;) {
    msg_t m;
    int fd;
    int err = msg_receive(TEMPLATE_SOCK_FD, &m, MSG_FROM_BROKER_TO_TEMPLATE, &fd);
    if (err == SMPL_EAGAIN)
      return SMPL_OK;
    if (!err)
      err = on_message(t, &m, fd);
    if (err)
      return err;
  }
}

static int start(template_t *t, diag_t *diag)
{
  sigset_t chld;
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  sigprocmask(SIG_BLOCK, &chld, NULL);
  /* Sessions end when the broker says so, with words for their clients, not by a signal to the whole group.
   */
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  t->signals = signalfd(-1, &chld, SFD_NONBLOCK | SFD_CLOEXEC);
  if (t->signals < 0 || fcntl(TEMPLATE_SOCK_FD, F_SETFL, O_NONBLOCK) < 0)
    return diag_fail_errno(diag, "signalfd");
  int err = worker_ssh_new(&t->ssh, diag);
  if (!err)
    err = worker_seal_template(&t->walls, diag);
  if (err)
    return err;
  msg_t m;
  msg_init(&m, MSG_TEMPLATE_READY, 0, 0);
  m.walls.walls = t->walls;
  return tell(&m);
}

int template_run(void)
{
  static template_t t = {.client = -1}; /* lives as long as the process */
  diag_t diag = {0};
  int err = start(&t, &diag);
  if (err) {
    log_error("%s", diag.text[0] ? diag.text : smpl_strerror(err));
    return 1;
  }
  while (!err) {
    struct pollfd p[] = {{TEMPLATE_SOCK_FD, POLLIN, 0}, {t.signals, POLLIN, 0}};
    if (poll(p, 2, -1) < 0 && errno != EINTR)
      return 1;
    if (p[1].revents)
      err = reap(&t);
    if (!err && p[0].revents)
      err = drain(&t);
  }
  if (err == SMPL_ECLOSED)
    return 0;
  log_error("the broker's messages: %s", smpl_strerror(err));
  return 1;
}
