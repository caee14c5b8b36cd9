/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/spawn/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bastion/spawn/walls.h"
#include "common/base/clock.h"
#include "common/process/crash.h"
#include "common/base/error.h"
#include "common/base/fifo.h"
#include "common/base/log.h"

/* Both ways; a broker of one version starts a launcher of the same. */
typedef enum kind { LAUNCH = 1, KILL, LAUNCHED, EXITED } kind_t;

typedef struct note {
  int kind;
  int pid;
  int status; /* of EXITED */
  int error;  /* of LAUNCHED: errno, 0 if the template runs */
} note_t;

enum { LAUNCH_FDS = 2 }; /* socket, log */

/* ---- notes and descriptors ---- */

static int send_note(int sock, const note_t *note, const int *fds, size_t fd_count)
{
  struct iovec iov = {(void *)(uintptr_t)note, sizeof *note};
  union {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int) * LAUNCH_FDS)];
  } control;
  struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
  if (fd_count > 0) {
    memset(&control, 0, sizeof control);
    hdr.msg_control = control.buf;
    hdr.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
    struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
  }
  ssize_t n;
  do
    n = sendmsg(sock, &hdr, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t)sizeof *note ? SMPL_OK : SMPL_ECLOSED;
}

/* SMPL_EAGAIN: nothing is there. fds of LAUNCH_FDS; NULL where none may come. */
static int receive_note(int sock, note_t *note, int *fds, size_t *fd_count)
{
  struct iovec iov = {note, sizeof *note};
  union {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int) * LAUNCH_FDS)];
  } control;
  struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
  *fd_count = 0;
  if (fds != NULL) {
    hdr.msg_control = control.buf;
    hdr.msg_controllen = sizeof control.buf;
  }
  ssize_t n;
  do
    n = recvmsg(sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    return SMPL_EAGAIN;
  for (struct cmsghdr *c = fds != NULL ? CMSG_FIRSTHDR(&hdr) : NULL; c != NULL; c = CMSG_NXTHDR(&hdr, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
      continue;
    *fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(c), *fd_count * sizeof(int));
  }
  return n == (ssize_t)sizeof *note ? SMPL_OK : SMPL_ECLOSED;
}

/* ---- the launcher's process ---- */

typedef struct self {
  const char *program;
  int sock;
  int null; /* /dev/null, opened before its walls stood */
  int signals;
  int *pids; /* of the templates that live */
  size_t count, cap;
} self_t;

/* All that a template needs of root: uid and groups of a worker, its empty root and namespaces, killing it;
 * and the way to its program, which may lie in somebody's folder. */
static void keep_few_capabilities(void)
{
  for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
    if (cap == CAP_SETUID || cap == CAP_SETGID || cap == CAP_SYS_CHROOT || cap == CAP_SYS_ADMIN ||
        cap == CAP_KILL || cap == CAP_DAC_READ_SEARCH)
      continue;
    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
  }
}

/* A session of its own, so that Ctrl-C on the terminal reaches the broker alone; nothing of the environment
 * but a tuning of memcpy, worth half the upload speed of AES-GCM, and the one arena of malloc: where memory
 * ends it would read files to see whether a second one helps. Returns on failure alone, with errno. */
static void execute(const char *program, int null, int sock, int log_fd)
{
  char *args[] = {(char *)(uintptr_t)program, NULL};
  char *env[] = {
      (char *)(uintptr_t) "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=100000000:glibc.malloc.arena_max="
                          "1",
#ifdef SMPL_SANITIZER
      (char *)(uintptr_t) "ASAN_OPTIONS=detect_leaks=0", /* it reads /proc, which an empty root has not */
#endif
      NULL};
  sigset_t none;
  sigemptyset(&none);
  setsid();
  if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log_fd, 2) < 0 || dup2(sock, LAUNCHER_SOCK_FD) < 0 ||
      chdir("/") < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0)
    return;
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  signal(SIGHUP, SIG_DFL);
  execve(program, args, env);
}

/* Descriptors above those that dup2 will fill; -1 with errno. */
static int lift(int fd)
{
  int high = fcntl(fd, F_DUPFD_CLOEXEC, LAUNCHER_SOCK_FD + 1);
  close(fd);
  return high;
}

/* 0 or errno. The pipe closes when the template is executed, or says why it is not. */
static int launch(self_t *self, const int *fds, int *pid)
{
  int why[2], error = 0;
  if (self->count == self->cap) {
    size_t cap = self->cap ? self->cap * 2 : 8;
    int *grown = realloc(self->pids, cap * sizeof *grown);
    if (grown == NULL)
      return ENOMEM;
    self->pids = grown;
    self->cap = cap;
  }
  if (pipe2(why, O_CLOEXEC) < 0)
    return errno;
  *pid = _Fork(); /* fork() would run libuv's handlers, which close descriptors by their old numbers */
  if (*pid == 0) {
    int sock = lift(fds[0]), log_fd = lift(fds[1]);
    why[1] = lift(why[1]);
    execute(self->program, lift(self->null), sock, log_fd);
    error = errno;
    ssize_t n = write(why[1], &error, sizeof error);
    _exit(n == (ssize_t)sizeof error ? 127 : 126);
  }
  error = *pid < 0 ? errno : 0;
  close(why[1]);
  if (*pid > 0 && read(why[0], &error, sizeof error) != (ssize_t)sizeof error)
    error = 0;
  close(why[0]);
  if (error != 0 && *pid > 0)
    waitpid(*pid, NULL, 0);
  else if (error == 0)
    self->pids[self->count++] = *pid;
  return error;
}

static int on_request(self_t *self, const note_t *note, const int *fds, size_t fd_count)
{
  if (note->kind == LAUNCH && fd_count == LAUNCH_FDS) {
    note_t reply = {.kind = LAUNCHED};
    reply.error = launch(self, fds, &reply.pid);
    return send_note(self->sock, &reply, NULL, 0);
  }
  for (size_t i = 0; note->kind == KILL && i < self->count; i++)
    if (self->pids[i] == note->pid)
      kill(note->pid, SIGKILL); /* a zombie at most: it is reaped below, by this very thread */
  return note->kind == KILL ? SMPL_OK : SMPL_EPROTO;
}

static int reap(self_t *self)
{
  struct signalfd_siginfo info;
  note_t note = {.kind = EXITED};
  int err = SMPL_OK;
  while (read(self->signals, &info, sizeof info) == (ssize_t)sizeof info) {
  }
  while (!err && (note.pid = waitpid(-1, &note.status, WNOHANG)) > 0) {
    for (size_t i = 0; i < self->count; i++) {
      if (self->pids[i] != note.pid)
        continue;
      self->pids[i] = self->pids[--self->count];
      err = send_note(self->sock, &note, NULL, 0);
      break;
    }
  }
  return err;
}

static int drain(self_t *self)
{
  for (;;) {
    note_t note;
    int fds[LAUNCH_FDS];
    size_t count;
    int err = receive_note(self->sock, &note, fds, &count);
    if (err == SMPL_EAGAIN)
      return SMPL_OK;
    if (!err)
      err = on_request(self, &note, fds, count);
    for (size_t i = 0; i < count; i++)
      close(fds[i]);
    if (err)
      return err;
  }
}

static noreturn void serve(const char *program, int sock)
{
  self_t self = {.program = program, .sock = LAUNCHER_SOCK_FD};
  sigset_t chld;
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  sigprocmask(SIG_BLOCK, &chld, NULL);
  signal(SIGINT, SIG_IGN); /* it ends with the broker, which has to end its sessions first */
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  setsid();
  prctl(PR_SET_NAME, "smpl-launcher", 0, 0, 0);
  crash_catch("smpl-launcher");
  if (dup2(sock, LAUNCHER_SOCK_FD) < 0 || close_range(LAUNCHER_SOCK_FD + 1, ~0u, 0) < 0 ||
      fcntl(LAUNCHER_SOCK_FD, F_SETFD, FD_CLOEXEC) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    _exit(1);
  keep_few_capabilities();
  self.signals = signalfd(-1, &chld, SFD_NONBLOCK | SFD_CLOEXEC);
  self.null = open("/dev/null", O_RDWR | O_CLOEXEC);
  int err = self.signals < 0 || self.null < 0 ? SMPL_ESYS : walls_seal_launcher();
  while (!err) {
    struct pollfd p[] = {{self.sock, POLLIN, 0}, {self.signals, POLLIN, 0}};
    if (poll(p, 2, -1) < 0 && errno != EINTR)
      _exit(1);
    if (p[1].revents)
      err = reap(&self);
    if (!err && p[0].revents)
      err = drain(&self);
  }
  _exit(err == SMPL_ECLOSED ? 0 : 1);
}

int launcher_fork(const char *program, int *sock, diag_t *diag)
{
  int pair[2];
  *sock = -1;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return diag_fail_errno(diag, "the launcher process cannot be connected");
  pid_t pid = _Fork();
  if (pid == 0)
    serve(program, pair[1]);
  close(pair[1]);
  if (pid < 0) {
    close(pair[0]);
    return diag_fail_errno(diag, "the launcher process cannot be started");
  }
  *sock = pair[0];
  return SMPL_OK;
}

/* ---- the broker's side ---- */

typedef struct late {
  fifo_link_t next;
  note_t note;
} late_t;

struct launcher {
  uv_poll_t poll;
  uv_timer_t soon; /* delivers what came while an answer was waited for */
  unsigned handles;
  int sock;
  launcher_events_t events;
  fifo_t late;
  bool gone;
  bool closing;
};

int launcher_new(uv_loop_t *loop, int sock, launcher_t **out)
{
  launcher_t *l = calloc(1, sizeof *l);
  *out = l;
  if (l == NULL || uv_poll_init(loop, &l->poll, sock) != 0) {
    free(l);
    close(sock);
    *out = NULL;
    return SMPL_ENOMEM;
  }
  uv_timer_init(loop, &l->soon);
  l->poll.data = l;
  l->soon.data = l;
  l->handles = 2;
  fifo_init(&l->late);
  l->sock = sock;
  return SMPL_OK;
}

static void set_gone(launcher_t *l)
{
  if (l->gone || l->closing)
    return;
  l->gone = true;
  uv_poll_stop(&l->poll);
  if (l->events.on_gone != NULL)
    l->events.on_gone(l->events.ctx);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
  launcher_t *l = poll->data;
  (void)status;
  (void)events;
  while (!l->closing && !l->gone) {
    note_t note;
    size_t none;
    int err = receive_note(l->sock, &note, NULL, &none);
    if (err == SMPL_EAGAIN)
      return;
    if (err || note.kind != EXITED)
      set_gone(l);
    else
      l->events.on_exited(l->events.ctx, note.pid, note.status);
  }
}

void launcher_listen(launcher_t *l, const launcher_events_t *events)
{
  l->events = *events;
  uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_soon(uv_timer_t *timer)
{
  launcher_t *l = timer->data;
  for (late_t *at; !l->closing && (at = FIFO_TAKE(&l->late, late_t, next)) != NULL;) {
    l->events.on_exited(l->events.ctx, at->note.pid, at->note.status);
    free(at);
  }
}

static void keep_for_later(launcher_t *l, const note_t *note)
{
  late_t *late = malloc(sizeof *late);
  if (late == NULL)
    return; /* its socket closes all the same */
  late->note = *note;
  fifo_add(&l->late, &late->next);
  uv_timer_start(&l->soon, on_soon, 0, 0);
}

static int await_launched(launcher_t *l, note_t *note)
{
  uint64_t now = clock_mono_ms(), until = now + LAUNCHER_WAIT_MS;
  for (; now < until; now = clock_mono_ms()) {
    size_t none;
    int err = receive_note(l->sock, note, NULL, &none);
    if (err == SMPL_EAGAIN) {
      struct pollfd p = {l->sock, POLLIN, 0};
      poll(&p, 1, (int)(until - now));
      continue;
    }
    if (err || note->kind == LAUNCHED)
      return err;
    keep_for_later(l, note);
  }
  return SMPL_ETIMEOUT;
}

int launcher_launch(launcher_t *l, int sock, int log_fd, int *pid, int *error)
{
  note_t note = {.kind = LAUNCH};
  *error = 0;
  *pid = 0;
  int err = l->gone ? SMPL_ECLOSED : send_note(l->sock, &note, (int[]){sock, log_fd}, LAUNCH_FDS);
  if (!err)
    err = await_launched(l, &note);
  if (err)
    return err;
  *pid = note.pid;
  *error = note.error;
  return note.error != 0 ? SMPL_ESYS : SMPL_OK;
}

void launcher_kill(launcher_t *l, int pid)
{
  note_t note = {.kind = KILL, .pid = pid};
  if (!l->gone && send_note(l->sock, &note, NULL, 0))
    log_error("template (pid %d): cannot be killed", pid);
}

static void on_closed(uv_handle_t *handle)
{
  launcher_t *l = handle->data;
  if (--l->handles > 0)
    return;
  for (late_t *at; (at = FIFO_TAKE(&l->late, late_t, next)) != NULL;)
    free(at);
  free(l);
}

void launcher_close(launcher_t *l)
{
  if (l == NULL || l->closing)
    return;
  l->closing = true;
  uv_poll_stop(&l->poll);
  close(l->sock);
  uv_close((uv_handle_t *)&l->poll, on_closed);
  uv_close((uv_handle_t *)&l->soon, on_closed);
}
