/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/spawn/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bastion/spawn/launcher.h"
#include "bastion/spawn/peer.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/turns.h"
#include "common/net/crowd.h"

enum { LOG_BUF = 1024 };

/* A session that waits for its worker; then one whose worker a template has or had, until MSG_EXITED. */
typedef struct child {
  turns_item_t turn; /* first */
  list_t link;
  uint64_t session;
  int client, pair; /* while it waits; the client's is the session's, the pair's ours */
  bool forking;     /* the template has not said yet that it made the worker */
} child_t;

typedef struct tmpl {
  list_t link;
  spawner_t *spawner;
  int pid;
  peer_t *peer;
  uv_pipe_t log;
  char line[LOG_BUF];
  size_t line_len;
  list_t children; /* child_t */
  size_t child_count;
  size_t forking; /* of its children */
  size_t spawned;
  uint32_t walls;
  bool ready;
} tmpl_t;

struct spawner {
  uv_loop_t *loop;
  char *program;
  launcher_t *launcher;
  const config_t *config;
  spawner_events_t events;
  list_t all; /* tmpl_t */
  tmpl_t *current;
  tmpl_t *next; /* being started */
  turns_t *turns;
  list_t waiting; /* child_t */
  uv_timer_t retry;
  uint64_t retry_ms;
  uint64_t started, renewed;
  uint64_t fresh_at; /* when the last one was started because of a crash, by the loop's clock */
  uint64_t log_second;
  unsigned log_lines;
  bool closing;
};

/* ---- one template ---- */

static void on_log_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void unlink_tmpl(tmpl_t *t)
{
  spawner_t *s = t->spawner;
  list_remove(&t->link);
  if (s->current == t)
    s->current = NULL;
  if (s->next == t)
    s->next = NULL;
}

/* It ends with its socket, and is kept until the launcher says that it has. */
static void let_go(tmpl_t *t)
{
  peer_close(t->peer);
  t->peer = NULL;
}

/* The template has made the worker, or never will. */
static void forked(tmpl_t *t, child_t *c)
{
  t->forking -= c->forking;
  c->forking = false;
}

static void report_orphans(tmpl_t *t)
{
  spawner_t *s = t->spawner;
  LIST_EACH(child_t, c, &t->children, link) {
    list_remove(&c->link);
    forked(t, c);
    if (!s->closing)
      s->events.on_exited(s->events.ctx, c->session, -1);
    free(c);
  }
}

static void start_later(spawner_t *s);
static void on_fresh(uv_timer_t *timer);
static void serve(spawner_t *s);
static void serve_until(spawner_t *s, size_t forking);

static void on_tmpl_exited(tmpl_t *t, int status)
{
  spawner_t *s = t->spawner;
  bool in_use = t == s->current || t == s->next;
  bool was_current = t == s->current;
  if (in_use) {
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    s->events.on_died(s->events.ctx, t->pid, code, signal);
    log_error("the template process (pid %d) ended by itself (status %d, signal %d); another is started",
              t->pid, code, signal);
  }
  unlink_tmpl(t);
  let_go(t);
  if (was_current)
    s->events.on_ready(s->events.ctx, false);
  report_orphans(t);
  uv_close((uv_handle_t *)&t->log, on_log_closed);
  if (in_use && s->next == NULL)
    start_later(s);
  serve(s); /* what it was asked for counts no more */
}

static void on_exited(void *ctx, int pid, int status)
{
  spawner_t *s = ctx;
  LIST_EACH(tmpl_t, t, &s->all, link) {
    if (t->pid != pid)
      continue;
    on_tmpl_exited(t, status);
    return;
  }
}

static void on_launcher_gone(void *ctx)
{
  spawner_t *s = ctx;
  log_error("the launcher process ended by itself: no worker can be started any more");
  s->events.on_lost(s->events.ctx);
}

/* ---- what it and its workers say ---- */

static void log_one(tmpl_t *t)
{
  spawner_t *s = t->spawner;
  uint64_t second = uv_now(s->loop) / 1000;
  if (second != s->log_second) {
    if (s->log_lines > SPAWNER_LOG_LINES_MAX)
      log_warn("worker: %u lines were not logged", s->log_lines - SPAWNER_LOG_LINES_MAX);
    s->log_second = second;
    s->log_lines = 0;
  }
  if (++s->log_lines <= SPAWNER_LOG_LINES_MAX && t->line_len > 0)
    log_warn("worker says: %.*s", (int)t->line_len, t->line);
  t->line_len = 0;
}

static void on_log_alloc(uv_handle_t *handle, size_t want, uv_buf_t *buf)
{
  (void)want;
  static char chunk[4096]; /* used up before the next read on this one thread */
  (void)handle;
  *buf = uv_buf_init(chunk, sizeof chunk);
}

static void on_log_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
  tmpl_t *t = stream->data;
  if (n < 0) {
    uv_read_stop(stream);
    return;
  }
  for (ssize_t i = 0; i < n; i++) {
    if (buf->base[i] == '\n' || t->line_len == sizeof t->line)
      log_one(t);
    if (buf->base[i] != '\n')
      t->line[t->line_len++] = buf->base[i];
  }
}

/* ---- its messages ---- */

static void retire(tmpl_t *t)
{
  if (t != NULL && t->child_count == 0)
    let_go(t);
}

static void on_ready(tmpl_t *t, uint32_t walls)
{
  spawner_t *s = t->spawner;
  if (t->ready || t != s->next)
    return;
  t->ready = true;
  t->walls = walls;
  tmpl_t *old = s->current;
  s->current = t;
  s->next = NULL;
  s->retry_ms = SPAWNER_RETRY_MIN_MS;
  retire(old);
  s->events.on_ready(s->events.ctx, true);
  serve(s);
}

bool spawner_is_crash(int status)
{
  static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
  if (status < 0 || !WIFSIGNALED(status))
    return false;
  for (size_t i = 0; i < COUNT_OF(faults); i++)
    if (WTERMSIG(status) == faults[i])
      return true;
  return false;
}

/* It forks nobody any more. Who crashes workers again and again has the others wait, but not for long, and
 * keeps no processor busy with templates. */
static void distrust(tmpl_t *t)
{
  spawner_t *s = t->spawner;
  if (t != s->current)
    return;
  s->current = NULL;
  s->renewed++;
  s->events.on_ready(s->events.ctx, false);
  retire(t);
  if (s->next != NULL)
    return;
  uint64_t now = uv_now(s->loop), due = s->fresh_at + SPAWNER_FRESH_MS;
  uv_timer_start(&s->retry, on_fresh, s->fresh_at != 0 && due > now ? due - now : 0, 0);
}

static child_t *take_out(list_t *list, uint64_t session)
{
  LIST_EACH(child_t, c, list, link) {
    if (c->session != session)
      continue;
    list_remove(&c->link);
    return c;
  }
  return NULL;
}

static void forget_child(tmpl_t *t, uint64_t session)
{
  child_t *c = take_out(&t->children, session);
  if (c == NULL)
    return;
  forked(t, c);
  t->child_count--;
  free(c);
}

static void on_spawned(tmpl_t *t, uint64_t session, int pid)
{
  spawner_t *s = t->spawner;
  LIST_EACH(child_t, c, &t->children, link) {
    if (c->session == session)
      forked(t, c);
  }
  s->events.on_spawned(s->events.ctx, session, pid);
}

static void on_message(void *ctx, const msg_t *m)
{
  tmpl_t *t = ctx;
  spawner_t *s = t->spawner;
  if (m->h.type == MSG_TEMPLATE_READY) {
    on_ready(t, m->walls.walls);
  } else if (m->h.type == MSG_SPAWNED) {
    on_spawned(t, m->h.session, m->child.pid);
    serve(s);
  } else if (m->h.type == MSG_EXITED) {
    forget_child(t, m->h.session);
    s->events.on_exited(s->events.ctx, m->h.session, m->child.status);
    if (spawner_is_crash(m->child.status))
      distrust(t);
    if (t->peer != NULL && t != s->current && t != s->next)
      retire(t);
    serve(s);
  }
}

static void on_gone(void *ctx, int err)
{
  tmpl_t *t = ctx;
  if (err == SMPL_ECLOSED)
    return; /* the launcher tells of its exit */
  log_error("the template process (pid %d) sent bytes that are no message; it is ended", t->pid);
  launcher_kill(t->spawner->launcher, t->pid);
}

/* ---- starting one ---- */

static int send_keys(tmpl_t *t)
{
  const config_t *c = t->spawner->config;
  for (size_t i = 0; i < hostkeys_count(c->keys); i++) {
    msg_t m;
    msg_init(&m, MSG_HOST_KEY, 0, 0);
    int err = hostkey_hollow(hostkeys_get(c->keys, i), m.host_key.base64);
    if (!err)
      err = peer_send(t->peer, &m, -1);
    if (err)
      return err;
  }
  return SMPL_OK;
}

static int start(spawner_t *s, diag_t *diag)
{
  int pair[2] = {-1, -1}, log_pipe[2] = {-1, -1};
  tmpl_t *t = calloc(1, sizeof *t);
  if (t == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  t->spawner = s;
  list_init(&t->link);
  list_init(&t->children);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ||
      pipe2(log_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
    int err = diag_fail_errno(diag, "the template process cannot be connected");
    for (int i = 0; i < 2; i++)
      if (pair[i] >= 0)
        close(pair[i]);
    free(t);
    return err;
  }
  uv_pipe_init(s->loop, &t->log, 0);
  t->log.data = t;
  int why, err = launcher_launch(s->launcher, pair[1], log_pipe[1], &t->pid, &why);
  close(pair[1]);
  close(log_pipe[1]);
  if (err || uv_pipe_open(&t->log, log_pipe[0]) != 0) {
    close(pair[0]);
    close(log_pipe[0]);
    uv_close((uv_handle_t *)&t->log, on_log_closed);
    return diag_fail(diag, SMPL_ESYS, "%s: cannot be executed: %s", s->program,
                     why != 0 ? strerror(why) : smpl_strerror(err));
  }
  list_add_first(&s->all, &t->link);
  s->next = t;
  s->started++;
  uv_read_start((uv_stream_t *)&t->log, on_log_alloc, on_log_read);
  peer_handlers_t handlers = {on_message, on_gone, t};
  err = peer_new(s->loop, pair[0], MSG_FROM_TEMPLATE, &handlers, &t->peer);
  if (!err)
    err = send_keys(t);
  if (err) { /* it ends with its socket, and its exit cleans up */
    let_go(t);
    return diag_fail(diag, err, "%s: cannot be told the host keys", s->program);
  }
  return SMPL_OK;
}

static void on_retry(uv_timer_t *timer)
{
  spawner_t *s = timer->data;
  if (s->next != NULL || s->closing)
    return;
  diag_t diag = {""};
  if (start(s, &diag)) {
    log_error("%s", diag.text);
    if (s->next == NULL)
      start_later(s);
  }
}

static void on_fresh(uv_timer_t *timer)
{
  spawner_t *s = timer->data;
  s->fresh_at = uv_now(s->loop);
  on_retry(timer);
}

static void start_later(spawner_t *s)
{
  uv_timer_start(&s->retry, on_retry, s->retry_ms, 0);
  s->retry_ms = s->retry_ms * 2 < SPAWNER_RETRY_MAX_MS ? s->retry_ms * 2 : SPAWNER_RETRY_MAX_MS;
}

/* ---- public ---- */

int spawner_new(uv_loop_t *loop, const char *program, int launcher_sock, const config_t *config,
                const spawner_events_t *events, spawner_t **out, diag_t *diag)
{
  *out = NULL;
  static const turns_conf_t turns = {.places = SPAWNER_WAITING_MAX};
  spawner_t *s = calloc(1, sizeof *s);
  launcher_t *launcher;
  if (launcher_new(loop, launcher_sock, &launcher) || s == NULL || (s->program = strdup(program)) == NULL ||
      (s->turns = turns_new(&turns)) == NULL) {
    launcher_close(launcher);
    if (s != NULL)
      free(s->program);
    free(s);
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  s->launcher = launcher;
  list_init(&s->all);
  list_init(&s->waiting);
  launcher_listen(launcher, &(launcher_events_t){on_exited, on_launcher_gone, s});
  s->loop = loop;
  s->config = config;
  s->events = *events;
  s->retry_ms = SPAWNER_RETRY_MIN_MS;
  uv_timer_init(loop, &s->retry);
  s->retry.data = s;
  int err = start(s, diag);
  *out = s;
  if (err) {
    *out = NULL;
    spawner_close(s);
  }
  return err;
}

void spawner_renew(spawner_t *s, const config_t *config, bool other_keys)
{
  s->config = config;
  if (other_keys && s->current != NULL) {
    tmpl_t *old = s->current;
    serve_until(s, SIZE_MAX); /* sessions that wait know the old keys */
    s->current = NULL;
    retire(old);
    s->events.on_ready(s->events.ctx, false);
  }
  diag_t diag = {""};
  if (s->next != NULL) { /* one with the old keys is on its way: not to be used */
    tmpl_t *stale = s->next;
    s->next = NULL;
    let_go(stale);
  }
  if (start(s, &diag)) {
    log_error("%s", diag.text);
    start_later(s);
  }
}

/* Its own end of the pair is closed, and so its session hears of it. */
static void give_up(child_t *c)
{
  close(c->pair);
  free(c);
}

static int ask(tmpl_t *t, const child_t *c)
{
  msg_t m;
  msg_init(&m, MSG_SPAWN, 0, c->session);
  int err = peer_send(t->peer, &m, c->client);
  if (err)
    return err;
  msg_init(&m, MSG_SPAWN_PAIR, 0, c->session);
  err = peer_send(t->peer, &m, c->pair);
  if (err) /* half a request cannot be taken back */
    launcher_kill(t->spawner->launcher, t->pid);
  return err;
}

static void ask_for(spawner_t *s, child_t *c)
{
  tmpl_t *t = s->current;
  c->forking = true;
  t->forking++;
  int err = ask(t, c);
  if (err) {
    log_error("no worker for a connection: %s", smpl_strerror(err));
    forked(t, c);
    give_up(c);
    return;
  }
  close(c->pair);
  list_add_first(&t->children, &c->link);
  t->child_count++;
  if (++t->spawned == SPAWNER_WORKERS && s->next == NULL)
    spawner_renew(s, s->config, false);
}

/* Whose turn it is, until so many workers are asked for. */
static void serve_until(spawner_t *s, size_t forking)
{
  turns_item_t *item;
  while (s->current != NULL && s->current->peer != NULL && s->current->forking < forking &&
         (item = turns_take(s->turns)) != NULL) {
    child_t *c = (child_t *)item;
    list_remove(&c->link);
    ask_for(s, c);
  }
}

static void serve(spawner_t *s)
{
  serve_until(s, SPAWNER_FORKING_MAX);
}

int spawner_spawn(spawner_t *s, uint64_t session, const ip_t *source, int client, int pair)
{
  if (s->current == NULL || s->current->peer == NULL)
    return SMPL_EAGAIN;
  ip_t network = crowd_network(source);
  turns_key_t line = turns_key(&network, sizeof network);
  turns_item_t *displaced = NULL;
  child_t *c = calloc(1, sizeof *c);
  if (c == NULL)
    return SMPL_ENOMEM;
  c->session = session;
  c->client = client;
  c->pair = pair;
  int err = turns_join(s->turns, &line, 1, &c->turn, &displaced);
  if (err) {
    free(c);
    return err;
  }
  list_add_first(&s->waiting, &c->link);
  if (displaced != NULL) {
    child_t *newest = (child_t *)displaced;
    list_remove(&newest->link);
    give_up(newest);
  }
  serve(s);
  return SMPL_OK;
}

void spawner_distrust(spawner_t *s, uint64_t session)
{
  LIST_EACH(tmpl_t, t, &s->all, link)
    LIST_EACH(const child_t, c, &t->children, link)
      if (c->session == session) {
        distrust(t);
        return;
      }
}

void spawner_kill(spawner_t *s, uint64_t session)
{
  child_t *waits = take_out(&s->waiting, session);
  if (waits != NULL) {
    turns_leave(s->turns, &waits->turn);
    give_up(waits);
    return;
  }
  LIST_EACH(tmpl_t, t, &s->all, link) {
    LIST_EACH(const child_t, c, &t->children, link) {
      if (c->session != session || t->peer == NULL)
        continue;
      msg_t m;
      msg_init(&m, MSG_KILL, 0, session);
      if (peer_send(t->peer, &m, -1))
        launcher_kill(s->launcher, t->pid);
      return;
    }
  }
}

void spawner_status(const spawner_t *s, spawner_status_t *out)
{
  *out = (spawner_status_t){.ready = s->current != NULL, .started = s->started, .renewed = s->renewed};
  if (s->current != NULL) {
    out->pid = s->current->pid;
    out->walls = s->current->walls;
  }
  LIST_EACH(const tmpl_t, t, &s->all, link)
    out->templates++;
}

static void on_retry_closed(uv_handle_t *handle)
{
  spawner_t *s = handle->data;
  turns_free(s->turns);
  free(s->program);
  free(s);
}

/* Nobody waits for the templates' exit any more. */
void spawner_close(spawner_t *s)
{
  if (s == NULL)
    return;
  s->closing = true;
  LIST_EACH(child_t, c, &s->waiting, link) {
    list_remove(&c->link);
    turns_leave(s->turns, &c->turn);
    give_up(c);
  }
  LIST_EACH(tmpl_t, t, &s->all, link) {
    unlink_tmpl(t);
    let_go(t);
    report_orphans(t);
    uv_close((uv_handle_t *)&t->log, on_log_closed);
  }
  launcher_close(s->launcher);
  uv_close((uv_handle_t *)&s->retry, on_retry_closed);
}
