/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tunnel/run/later.h"
#include "common/ssh/ssh_pump.h"
#include "tunnel/local/system.h"

struct child {
  life_t *life;
  const routes_t *routes;
  uint64_t descriptors; /* the limit that the program gets */
  pid_t pid;            /* 0: none runs */
  int status;           /* of the program that was run; -1: none has ended */
  later_t program;      /* waits for the tunnel to stand */
  later_t browser;
  char url[CHILD_URL_MAX]; /* that the browser opens */
  int stdio;               /* the threads' end; -1: none */
  pthread_t reader, writer;
};

child_t *child_new(life_t *life, const routes_t *routes, uint64_t descriptors)
{
  child_t *c = calloc(1, sizeof *c);
  if (c)
    *c = (child_t){.life = life, .routes = routes, .descriptors = descriptors, .status = -1, .stdio = -1};
  return c;
}

int child_status(const child_t *c)
{
  return c->status;
}

/* ---- what the program finds in its environment ---- */

static void set(const char *name, size_t number, const char *value)
{
  char full[64];
  if (number == 0)
    snprintf(full, sizeof full, "%s", name);
  else
    snprintf(full, sizeof full, "%s_%zu", name, number + 1);
  setenv(full, value, 1);
}

/* The first forward without a number, the others with theirs. */
static void set_route(const route_t *r, size_t number)
{
  char text[ROUTE_URL_MAX];
  if (r->forward->kind == FORWARD_SOCKET) {
    set("SMPL_TUNNEL_SOCKET", number, r->forward->path);
    return;
  }
  set("SMPL_TUNNEL_HOST", number, route_local_host(r, text, sizeof text));
  snprintf(text, sizeof text, "%u", r->local_port);
  set("SMPL_TUNNEL_PORT", number, text);
  set("SMPL_TUNNEL_URL", number, route_url(r, text, sizeof text));
}

/* ---- the program ---- */

static int become(void *ctx)
{
  const child_t *c = ctx;
  char **exec = c->life->task->exec;
  for (size_t i = 0; i < c->routes->count; i++)
    set_route(&c->routes->items[i], i);
  system_restore_limits(c->descriptors);
  signal(SIGPIPE, SIG_DFL);
  execvp(exec[0], exec);
  return errno;
}

static void cannot_run(child_t *c, int error)
{
  char text[DIAG_TEXT_MAX];
  snprintf(text, sizeof text, "%s cannot be run: %s", c->life->task->exec[0], strerror(error));
  c->status = error == ENOENT ? CHILD_NOT_FOUND : CHILD_NOT_EXECUTABLE;
  life_fail(c->life, EXIT_OTHER, NULL, text);
}

void child_start(child_t *c)
{
  pid_t pid = c->program.pid;
  int error = later_waits(&c->program) ? later_start(&c->program) : ECHILD;
  if (error) {
    if (pid > 0)
      waitpid(pid, NULL, 0);
    c->program.pid = 0;
    cannot_run(c, error);
    return;
  }
  c->pid = pid;
  say_step(c->life->say, "runs %s (pid %d)", c->life->task->exec[0], (int)pid);
}

void child_look(child_t *c)
{
  int status;
  if (!c->pid || waitpid(c->pid, &status, WNOHANG) != c->pid)
    return;
  c->pid = 0;
  c->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  life_stop(c->life);
}

/* Ctrl-C reaches every process of the terminal's foreground group by itself. */
static bool has_it_already(int number)
{
  int terminal = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (terminal < 0)
    return false;
  bool foreground = tcgetpgrp(terminal) == getpgrp();
  close(terminal);
  return number == SIGINT && foreground;
}

bool child_signal(child_t *c, int number)
{
  if (!c->pid)
    return false;
  if (!has_it_already(number))
    kill(c->pid, number);
  return true;
}

void child_end(child_t *c)
{
  later_drop(&c->program);
  later_drop(&c->browser);
  if (!c->pid)
    return;
  uint64_t until = clock_mono_ms() + CHILD_END_MS;
  int status;
  kill(c->pid, SIGTERM);
  while (waitpid(c->pid, &status, WNOHANG) == 0) {
    if (clock_mono_ms() >= until)
      kill(c->pid, SIGKILL);
    poll(NULL, 0, 10);
  }
  c->pid = 0;
}

void child_free(child_t *c)
{
  if (c) {
    later_drop(&c->program);
    later_drop(&c->browser);
  }
  free(c);
}

/* ---- standard input and output ---- */

static bool write_all(int fd, const char *data, size_t len, bool is_socket)
{
  while (len > 0) {
    ssize_t n = is_socket ? send(fd, data, len, MSG_NOSIGNAL) : write(fd, data, len);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN) { /* somebody else has made it a nonblocking one */
      struct pollfd p = {fd, POLLOUT, 0};
      poll(&p, 1, -1);
      continue;
    }
    if (n <= 0)
      return false;
    data += n;
    len -= (size_t)n;
  }
  return true;
}

static void copy(int from, int to, bool to_socket)
{
  char *data = malloc(CHILD_STDIO_SIZE);
  for (;;) {
    ssize_t n = data ? read(from, data, CHILD_STDIO_SIZE) : 0;
    if (n < 0 && errno == EAGAIN) {
      struct pollfd p = {from, POLLIN, 0};
      poll(&p, 1, -1);
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (n <= 0 || !write_all(to, data, (size_t)n, to_socket))
      break;
  }
  free(data);
}

static void *from_input(void *arg)
{
  child_t *c = arg;
  copy(STDIN_FILENO, c->stdio, true);
  shutdown(c->stdio, SHUT_WR);
  return NULL;
}

static void *to_output(void *arg)
{
  child_t *c = arg;
  copy(c->stdio, STDOUT_FILENO, false);
  close(STDOUT_FILENO); /* whoever reads learns of the end, even while it still writes to us */
  return NULL;
}

int child_start_stdio(child_t *c)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
    c->stdio = ends[1];
    if (ssh_pump_prepare_socket(ends[0], 0) == SMPL_OK &&
        pthread_create(&c->writer, NULL, to_output, c) == 0 &&
        pthread_create(&c->reader, NULL, from_input, c) == 0) {
      pthread_detach(c->reader); /* it may wait for input for ever */
      return ends[0];
    }
  }
  life_fail(c->life, EXIT_OTHER, NULL, "standard input and output cannot be connected");
  return -1;
}

void child_finish_stdio(child_t *c)
{
  if (c->stdio >= 0)
    pthread_join(c->writer, NULL);
}

/* ---- the browser ---- */

/* False: no forward has a port that a browser could open. */
static bool make_url(const child_t *c, char *url, size_t cap)
{
  char begin[ROUTE_URL_MAX];
  const route_t *r = NULL;
  for (size_t i = 0; i < c->routes->count && !r; i++) {
    if (c->routes->items[i].forward->kind == FORWARD_PORT)
      r = &c->routes->items[i];
  }
  if (!r)
    return false;
  snprintf(url, cap, "%s%s", route_url(r, begin, sizeof begin), c->life->task->open);
  return true;
}

static int open_browser(void *ctx)
{
  const child_t *c = ctx;
  return system_open_url(c->url) == SMPL_OK ? 0 : 1;
}

void child_open_browser(child_t *c)
{
  if (!c->url[0])
    say_note(c->life->say, "--open has no port to open");
  else if (!later_waits(&c->browser) || later_start(&c->browser) != 0)
    say_note(c->life->say, "no browser could be started (xdg-open, or set $BROWSER): open %s yourself",
             c->url);
  if (c->browser.pid > 0)
    waitpid(c->browser.pid, NULL, 0);
  c->browser.pid = 0;
}

void child_prepare(child_t *c)
{
  const task_t *task = c->life->task;
  if (task->exec && !later_make(&c->program, become, c))
    life_fail(c->life, EXIT_OTHER, NULL, "out of memory or processes");
  if (task->open && make_url(c, c->url, sizeof c->url))
    later_make(&c->browser, open_browser, c);
}
