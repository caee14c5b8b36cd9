#include "bastion/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bastion/peer.h"
#include "common/error.h"
#include "common/log.h"

enum { LOG_BUF = 1024 };

/* A session whose worker this template has or had; remembered until MSG_EXITED. */
typedef struct child {
  struct child *next;
  uint64_t session;
} child_t;

typedef struct tmpl {
  struct tmpl *next;
  spawner_t *spawner;
  uv_process_t process;
  peer_t *peer;
  uv_pipe_t log;
  char line[LOG_BUF];
  size_t line_len;
  child_t *children;
  size_t child_count;
  size_t spawned;
  uint32_t walls;
  bool ready;
  bool dead;
  unsigned handles; /* that must be closed before this is freed */
} tmpl_t;

struct spawner {
  uv_loop_t *loop;
  char *program;
  const config_t *config;
  spawner_events_t events;
  tmpl_t *all;
  tmpl_t *current;
  tmpl_t *next; /* being started */
  uv_timer_t retry;
  uint64_t retry_ms;
  uint64_t started;
  uint64_t log_second;
  unsigned log_lines;
  bool closing;
};

/* ---- one template ---- */

static void on_handle_closed(uv_handle_t *handle)
{
  tmpl_t *t = handle->data;
  if (--t->handles > 0)
    return;
  free(t);
}

static void unlink_tmpl(tmpl_t *t)
{
  spawner_t *s = t->spawner;
  for (tmpl_t **at = &s->all; *at != NULL; at = &(*at)->next) {
    if (*at == t) {
      *at = t->next;
      break;
    }
  }
  if (s->current == t)
    s->current = NULL;
  if (s->next == t)
    s->next = NULL;
}

/* Everything but the process handle is let go; that one waits for the exit. */
static void let_go(tmpl_t *t)
{
  peer_close(t->peer);
  t->peer = NULL;
}

static void report_orphans(tmpl_t *t)
{
  spawner_t *s = t->spawner;
  while (t->children != NULL) {
    child_t *c = t->children;
    t->children = c->next;
    if (!s->closing)
      s->events.on_exited(s->events.ctx, c->session, -1);
    free(c);
  }
}

static void start_later(spawner_t *s);

static void on_exit_process(uv_process_t *process, int64_t status, int signal)
{
  tmpl_t *t = process->data;
  spawner_t *s = t->spawner;
  bool in_use = t == s->current || t == s->next;
  bool was_current = t == s->current;
  if (in_use && !s->closing) {
    s->events.on_died(s->events.ctx, process->pid, (int)status, signal);
    log_error("the template process (pid %d) ended by itself (status %lld, signal %d); another is started",
              process->pid, (long long)status, signal);
  }
  t->dead = true;
  unlink_tmpl(t);
  let_go(t);
  if (was_current && !s->closing)
    s->events.on_ready(s->events.ctx, false);
  report_orphans(t);
  uv_close((uv_handle_t *)&t->process, on_handle_closed);
  if (!uv_is_closing((uv_handle_t *)&t->log))
    uv_close((uv_handle_t *)&t->log, on_handle_closed);
  if (in_use && !s->closing && s->next == NULL)
    start_later(s);
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
}

static void forget_child(tmpl_t *t, uint64_t session)
{
  for (child_t **at = &t->children; *at != NULL; at = &(*at)->next) {
    if ((*at)->session != session)
      continue;
    child_t *c = *at;
    *at = c->next;
    t->child_count--;
    free(c);
    return;
  }
}

static void on_message(void *ctx, const msg_t *m)
{
  tmpl_t *t = ctx;
  spawner_t *s = t->spawner;
  if (m->h.type == MSG_TEMPLATE_READY) {
    on_ready(t, m->walls.walls);
  } else if (m->h.type == MSG_SPAWNED) {
    s->events.on_spawned(s->events.ctx, m->h.session, m->child.pid);
  } else if (m->h.type == MSG_EXITED) {
    forget_child(t, m->h.session);
    s->events.on_exited(s->events.ctx, m->h.session, m->child.status);
    if (t != s->current && t != s->next)
      retire(t);
  }
}

static void on_gone(void *ctx, int err)
{
  tmpl_t *t = ctx;
  if (err == SMPL_ECLOSED)
    return; /* its exit is told by the process handle */
  log_error("the template process (pid %d) sent what is no message; it is ended", t->process.pid);
  uv_process_kill(&t->process, SIGKILL);
}

/* ---- starting one ---- */

static int send_keys(tmpl_t *t)
{
  const config_t *c = t->spawner->config;
  for (size_t i = 0; i < c->key_count; i++) {
    msg_t m;
    msg_init(&m, MSG_HOST_KEY, 0, 0);
    int err = hostkey_hollow(c->keys[i], m.host_key.base64);
    if (!err)
      err = peer_send(t->peer, &m, -1);
    if (err)
      return err;
  }
  return SMPL_OK;
}

/* A session of its own, so that Ctrl-C on the terminal reaches the broker alone; nothing of the environment but a tuning
 * of memcpy, worth half the upload speed of AES-GCM. */
static int run(tmpl_t *t, int sock, int log_fd)
{
  spawner_t *s = t->spawner;
  char *args[] = {s->program, NULL};
  char *env[] = {"GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=100000000",
#ifdef SMPL_SANITIZER
                 "ASAN_OPTIONS=detect_leaks=0", /* it reads /proc, which an empty root has not */
#endif
                 NULL};
  uv_stdio_container_t stdio[4] = {
      {.flags = UV_IGNORE},
      {.flags = UV_IGNORE},
      {.flags = UV_INHERIT_FD, .data.fd = log_fd},
      {.flags = UV_INHERIT_FD, .data.fd = sock},
  };
  uv_process_options_t options = {.exit_cb = on_exit_process,
                                  .file = s->program,
                                  .args = args,
                                  .env = env,
                                  .cwd = "/",
                                  .flags = UV_PROCESS_DETACHED,
                                  .stdio_count = 4,
                                  .stdio = stdio};
  return uv_spawn(s->loop, &t->process, &options);
}

static int start(spawner_t *s, diag_t *diag)
{
  int pair[2] = {-1, -1}, log_pipe[2] = {-1, -1};
  tmpl_t *t = calloc(1, sizeof *t);
  if (t == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  t->spawner = s;
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
  t->process.data = t;
  t->handles = 2;
  int rc = run(t, pair[1], log_pipe[1]);
  close(pair[1]);
  close(log_pipe[1]);
  if (rc != 0 || uv_pipe_open(&t->log, log_pipe[0]) != 0) {
    close(pair[0]);
    close(log_pipe[0]);
    uv_close((uv_handle_t *)&t->log, on_handle_closed);
    uv_close((uv_handle_t *)&t->process, on_handle_closed);
    return diag_fail(diag, SMPL_ESYS, "%s: cannot be executed: %s", s->program, uv_strerror(rc));
  }
  t->next = s->all;
  s->all = t;
  s->next = t;
  s->started++;
  uv_read_start((uv_stream_t *)&t->log, on_log_alloc, on_log_read);
  peer_handlers_t handlers = {on_message, on_gone, t};
  int err = peer_new(s->loop, pair[0], MSG_FROM_TEMPLATE, &handlers, &t->peer);
  if (!err)
    err = send_keys(t);
  if (err) { /* it ends with its socket; the exit callback cleans up */
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

static void start_later(spawner_t *s)
{
  uv_timer_start(&s->retry, on_retry, s->retry_ms, 0);
  s->retry_ms = s->retry_ms * 2 < SPAWNER_RETRY_MAX_MS ? s->retry_ms * 2 : SPAWNER_RETRY_MAX_MS;
}

/* ---- public ---- */

int spawner_new(uv_loop_t *loop, const char *program, const config_t *config, const spawner_events_t *events,
                spawner_t **out, diag_t *diag)
{
  *out = NULL;
  spawner_t *s = calloc(1, sizeof *s);
  if (s == NULL || (s->program = strdup(program)) == NULL) {
    free(s);
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
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

static int remember(tmpl_t *t, uint64_t session)
{
  child_t *c = malloc(sizeof *c);
  if (c == NULL)
    return SMPL_ENOMEM;
  *c = (child_t){t->children, session};
  t->children = c;
  t->child_count++;
  t->spawned++;
  return SMPL_OK;
}

int spawner_spawn(spawner_t *s, uint64_t session, int client, int pair)
{
  tmpl_t *t = s->current;
  if (t == NULL || t->peer == NULL)
    return SMPL_EAGAIN;
  int err = remember(t, session);
  msg_t m;
  msg_init(&m, MSG_SPAWN, 0, session);
  if (!err)
    err = peer_send(t->peer, &m, client);
  if (!err) {
    msg_init(&m, MSG_SPAWN_PAIR, 0, session);
    err = peer_send(t->peer, &m, pair);
    if (err) /* half a request cannot be taken back */
      uv_process_kill(&t->process, SIGKILL);
  }
  if (err)
    forget_child(t, session);
  else if (t->spawned == SPAWNER_WORKERS && s->next == NULL)
    spawner_renew(s, s->config, false);
  return err;
}

void spawner_kill(spawner_t *s, uint64_t session)
{
  for (tmpl_t *t = s->all; t != NULL; t = t->next) {
    for (const child_t *c = t->children; c != NULL; c = c->next) {
      if (c->session != session || t->peer == NULL)
        continue;
      msg_t m;
      msg_init(&m, MSG_KILL, 0, session);
      if (peer_send(t->peer, &m, -1))
        uv_process_kill(&t->process, SIGKILL);
      return;
    }
  }
}

void spawner_status(const spawner_t *s, spawner_status_t *out)
{
  *out = (spawner_status_t){.ready = s->current != NULL, .started = s->started};
  if (s->current != NULL) {
    out->pid = s->current->process.pid;
    out->walls = s->current->walls;
  }
  for (const tmpl_t *t = s->all; t != NULL; t = t->next)
    out->templates++;
}

static void on_retry_closed(uv_handle_t *handle)
{
  spawner_t *s = handle->data;
  free(s->program);
  free(s);
}

/* Their process handles go with them: nobody waits for their exit any more. */
void spawner_close(spawner_t *s)
{
  if (s == NULL)
    return;
  s->closing = true;
  while (s->all != NULL) {
    tmpl_t *t = s->all;
    unlink_tmpl(t);
    let_go(t);
    report_orphans(t);
    uv_close((uv_handle_t *)&t->process, on_handle_closed);
    uv_close((uv_handle_t *)&t->log, on_handle_closed);
  }
  uv_close((uv_handle_t *)&s->retry, on_retry_closed);
}
