/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/control.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/conf/conf.h"
#include "common/base/error.h"
#include "common/net/uv_server.h"
#include "common/process/file.h"

enum { CONTROL_JSON_DEPTH_FLAGS = JSON_REJECT_DUPLICATES, CONTROL_ERROR_MAX = 1024 };

struct control_server {
  uv_server_t server;
  control_handler_t handler;
  void *ctx;
  char *path;
};

/* A connection; also the request that the handler holds. Freed when it has gone and the handler has replied.
 */
typedef struct client {
  uv_client_t client;
  char *line;
  size_t used;
  struct ucred cred; /* of who connected */
  char *reply;
  size_t held; /* bytes of it */
  bool asked;  /* the handler owes a reply */
  bool gone;   /* nothing on the loop knows it any more */
} client_t;

struct control_request {
  client_t client; /* a request is its connection */
};

static void client_unref(client_t *c)
{
  if (!c->gone || c->asked)
    return;
  free(c->line);
  free(c->reply);
  free((control_request_t *)c);
}

static void on_gone(uv_client_t *client)
{
  client_t *c = (client_t *)client;
  c->gone = true;
  client_unref(c);
}

static void client_close(client_t *c)
{
  uv_client_close(&c->client);
}

static bool is_privileged(uid_t uid)
{
  return uid == 0 || uid == geteuid();
}

/* ---- who gives way ---- */

/* What is shared out by account: connections, or bytes of answers. */
static size_t weight_of(const client_t *c, bool bytes)
{
  return c->client.closing ? 0 : bytes ? c->held : 1;
}

static size_t account_has(const control_server_t *s, uid_t uid, bool bytes)
{
  size_t sum = 0;
  LIST_EACH(const client_t, o, &s->server.clients, client.link) {
    sum += o->cred.uid == uid ? weight_of(o, bytes) : 0;
  }
  return sum;
}

/* Of the account that has the most, root and our own aside, the oldest; NULL if none has any. */
static client_t *who_has_most(const control_server_t *s, bool bytes)
{
  client_t *found = NULL;
  size_t most = 0;
  LIST_EACH(client_t, o, &s->server.clients, client.link) { /* the newest first */
    if (is_privileged(o->cred.uid) || weight_of(o, bytes) == 0)
      continue;
    size_t has = account_has(s, o->cred.uid, bytes);
    if (has > most || (found != NULL && o->cred.uid == found->cred.uid)) {
      most = has;
      found = o;
    }
  }
  return found;
}

static size_t bytes_held(const control_server_t *s)
{
  size_t sum = 0;
  LIST_EACH(const client_t, o, &s->server.clients, client.link)
    sum += weight_of(o, true);
  return sum;
}

/* Readers that take their time must not hold memory without bound. False: this one's own account holds the
 * most. */
static bool find_memory(client_t *c)
{
  const control_server_t *s = (control_server_t *)c->client.server;
  while (bytes_held(s) > CONTROL_HELD_MAX && !is_privileged(c->cred.uid)) {
    client_t *victim = who_has_most(s, true);
    if (victim == NULL || victim->cred.uid == c->cred.uid)
      return false;
    client_close(victim);
  }
  return true;
}

void control_reply(control_request_t *request, json_t *reply)
{
  client_t *c = &request->client;
  c->asked = false;
  if (c->client.closing) {
    json_decref(reply);
    client_unref(c);
    return;
  }
  char *text = json_dumps(reply, JSON_COMPACT);
  json_decref(reply);
  if (text == NULL) {
    client_close(c);
    return;
  }
  size_t len = strlen(text);
  c->reply = text;
  c->held = len + 1;
  if (!find_memory(c)) {
    client_close(c);
    return;
  }
  c->reply[len] = '\n'; /* in the NUL's place: from here on it is bytes with a length */
  uv_buf_t buf = uv_buf_init(c->reply, (unsigned)(len + 1));
  uv_client_restart(&c->client);
  uv_client_answer(&c->client, &buf, 1);
}

void control_reply_error(control_request_t *request, const char *fmt, ...)
{
  char text[CONTROL_ERROR_MAX];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  control_reply(request, json_pack("{s:b, s:s}", "ok", 0, "error", text));
}

/* The groups of the process that connected, from the kernel: no name service is asked. *groups is malloc'ed.
 */
static int peer_groups(int fd, gid_t **groups, size_t *count)
{
  gid_t few[64], *many = NULL;
  socklen_t len = sizeof few;
  int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &len);
  if (rc < 0 && errno != ERANGE)
    return SMPL_ESYS;
  if (len > CONTROL_GROUPS_MAX * sizeof *few)
    return SMPL_ELIMIT;
  many = malloc(len > 0 ? len : 1);
  if (many == NULL)
    return SMPL_ENOMEM;
  if (rc == 0)
    memcpy(many, few, len);
  else if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, many, &len) < 0) {
    free(many);
    return SMPL_ESYS;
  }
  *groups = many;
  *count = len / sizeof *many;
  return SMPL_OK;
}

static void handle_line(client_t *c, size_t len)
{
  gid_t *groups = NULL;
  size_t group_count = 0;
  int fd = -1;
  const control_server_t *s = (control_server_t *)c->client.server;
  uv_client_hold(&c->client);
  c->asked = true;
  control_request_t *request = (control_request_t *)c;
  if (uv_fileno((uv_handle_t *)&c->client.handle, &fd) != 0 || peer_groups(fd, &groups, &group_count)) {
    control_reply_error(request, "the peer's identity is unknown");
    return;
  }
  json_error_t err;
  json_t *body = json_loadb(c->line, len, CONTROL_JSON_DEPTH_FLAGS, &err);
  if (!json_is_object(body)) {
    control_reply_error(request, "the request is not one JSON object on a line");
    json_decref(body);
    free(groups);
    return;
  }
  control_peer_t peer = {c->cred.uid, c->cred.gid, c->cred.pid, groups, group_count};
  s->handler(s->ctx, request, &peer, body);
  json_decref(body);
  free(groups);
}

static uv_buf_t room_of(uv_client_t *client)
{
  client_t *c = (client_t *)client;
  return uv_buf_init(c->line + c->used, (unsigned)(CONTROL_REQUEST_MAX - c->used));
}

static void on_received(uv_client_t *client, size_t n)
{
  client_t *c = (client_t *)client;
  char *newline = memchr(c->line + c->used, '\n', n);
  c->used += n;
  if (newline != NULL)
    handle_line(c, (size_t)(newline - c->line));
}

/* Whoever the socket's mode lets in cannot take all places: root and our own account always find one, and so
 * does an account that has fewer than another. */
static bool find_place(control_server_t *s, const client_t *c)
{
  size_t all = 0, others = 0;
  LIST_EACH(const client_t, o, &s->server.clients, client.link) {
    all += weight_of(o, false);
    others += !is_privileged(o->cred.uid) && !o->client.closing;
  }
  if (all > CONTROL_CLIENTS_MAX)
    return false;
  if (is_privileged(c->cred.uid))
    return true;
  if (account_has(s, c->cred.uid, false) > CONTROL_CLIENTS_OF_UID)
    return false;
  if (others <= CONTROL_CLIENTS_OTHERS)
    return true;
  client_t *victim = who_has_most(s, false);
  if (account_has(s, victim->cred.uid, false) <= account_has(s, c->cred.uid, false))
    return false;
  client_close(victim);
  return true;
}

/* SMPL_ESYS if the kernel does not say who it is. */
static int learn_peer(client_t *c)
{
  int fd = -1;
  socklen_t len = sizeof c->cred;
  if (uv_fileno((uv_handle_t *)&c->client.handle, &fd) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c->cred, &len) < 0)
    return SMPL_ESYS;
  return SMPL_OK;
}

static bool on_accepted(uv_client_t *client)
{
  client_t *c = (client_t *)client;
  c->cred.uid = (uid_t)-1;
  c->line = malloc(CONTROL_REQUEST_MAX);
  return c->line != NULL && learn_peer(c) == SMPL_OK && find_place((control_server_t *)client->server, c);
}

static void on_over(uv_server_t *server)
{
  control_server_t *s = (control_server_t *)server;
  free(s->path);
  free(s);
}

static const uv_server_type_t server_type = {.kind = UV_NAMED_PIPE,
                                             .size = sizeof(control_request_t),
                                             .timeout_ms = CONTROL_TIMEOUT_MS,
                                             .accepted = on_accepted,
                                             .room = room_of,
                                             .received = on_received,
                                             .gone = on_gone,
                                             .over = on_over};

/* Fills sa; SMPL_ELIMIT with a message if path does not fit. */
static int make_address(const char *path, struct sockaddr_un *sa, diag_t *diag)
{
  *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof sa->sun_path)
    return diag_fail(diag, SMPL_ELIMIT, "%s: a socket's path has at most %zu bytes", path,
                     sizeof sa->sun_path - 1);
  memcpy(sa->sun_path, path, strlen(path) + 1);
  return SMPL_OK;
}

/* Removes a socket file that nobody listens on. */
static int clear_stale(const char *path, const struct sockaddr_un *sa, diag_t *diag)
{
  struct stat st;
  if (lstat(path, &st) < 0)
    return errno == ENOENT ? SMPL_OK : diag_fail_errno(diag, "%s: cannot be examined", path);
  if (!S_ISSOCK(st.st_mode))
    return diag_fail(diag, SMPL_EEXIST,
                     "%s: exists and is not a socket; remove it or name another control socket", path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return diag_fail_errno(diag, "control socket");
  int connected = connect(fd, (const struct sockaddr *)sa, sizeof *sa);
  int why = errno;
  close(fd);
  if (connected == 0 || why == EAGAIN)
    return diag_fail(diag, SMPL_EBUSY, "%s: another running program answers on this control socket", path);
  if (unlink(path) < 0)
    return diag_fail_errno(diag, "%s: a stale socket that cannot be removed", path);
  return SMPL_OK;
}

/* A listening descriptor at path with mode 0660. */
static int listen_at(const char *path, int *out, diag_t *diag)
{
  struct sockaddr_un sa;
  int err = make_address(path, &sa, diag);
  if (!err)
    err = clear_stale(path, &sa, diag);
  if (err)
    return err;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return diag_fail_errno(diag, "control socket");
  /* The mode must be right from the first instant, hence by umask and not by a later chmod. */
  mode_t old = umask(0117);
  int bound = bind(fd, (struct sockaddr *)&sa, sizeof sa);
  int why = errno;
  umask(old);
  errno = why;
  if (bound < 0 || listen(fd, CONTROL_CLIENTS_MAX) < 0) {
    err = diag_fail_errno(diag, "%s: cannot listen on this control socket", path);
    close(fd);
    return err;
  }
  *out = fd;
  return SMPL_OK;
}

int control_server_open(uv_loop_t *loop, const char *path, control_handler_t handler, void *ctx,
                        control_server_t **server, diag_t *diag)
{
  *server = NULL;
  control_server_t *s = calloc(1, sizeof *s);
  if (s == NULL || (s->path = strdup(path)) == NULL) {
    free(s);
    return diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", path);
  }
  int fd = -1;
  int err = listen_at(path, &fd, diag);
  if (err) {
    free(s->path);
    free(s);
    return err;
  }
  s->handler = handler;
  s->ctx = ctx;
  uv_server_init(&s->server, loop, &server_type);
  if (uv_pipe_open(&s->server.listener.pipe, fd) != 0 ||
      uv_server_listen(&s->server, CONTROL_CLIENTS_MAX) != 0) {
    control_server_close(s);
    return diag_fail(diag, SMPL_ESYS, "%s: cannot listen on this control socket", path);
  }
  *server = s;
  return SMPL_OK;
}

void control_server_close(control_server_t *s)
{
  if (s == NULL || s->server.closed)
    return;
  unlink(s->path);
  uv_server_close(&s->server, true);
}

/* ---- client ---- */

static int wait_for(int fd, short events, uint64_t deadline)
{
  for (;;) {
    uint64_t now = clock_mono_ms();
    if (now >= deadline)
      return SMPL_ETIMEOUT;
    uint64_t left = deadline - now;
    struct pollfd p = {.fd = fd, .events = events};
    int n = poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left);
    if (n > 0)
      return SMPL_OK;
    if (n < 0 && errno != EINTR)
      return SMPL_ESYS;
  }
}

static int send_all(int fd, const char *data, size_t len, uint64_t deadline)
{
  while (len > 0) {
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      data += n;
      len -= (size_t)n;
    } else if (errno == EAGAIN) {
      int err = wait_for(fd, POLLOUT, deadline);
      if (err)
        return err;
    } else if (errno != EINTR) {
      return SMPL_ECLOSED;
    }
  }
  return SMPL_OK;
}

/* Reads to the end of the stream; *out is malloc'ed. */
static int receive_all(int fd, uint64_t deadline, char **out, size_t *out_len)
{
  size_t cap = 16 << 10, used = 0;
  char *buf = malloc(cap);
  int err = buf == NULL ? SMPL_ENOMEM : SMPL_OK;
  while (!err) {
    if (used == cap) {
      char *grown = cap >= CONTROL_REPLY_MAX ? NULL : realloc(buf, cap * 2);
      if (grown == NULL) {
        err = SMPL_ELIMIT;
        break;
      }
      buf = grown;
      cap *= 2;
    }
    ssize_t n = recv(fd, buf + used, cap - used, MSG_DONTWAIT);
    if (n == 0)
      break;
    if (n > 0)
      used += (size_t)n;
    else if (errno == EAGAIN)
      err = wait_for(fd, POLLIN, deadline);
    else if (errno != EINTR)
      err = SMPL_ECLOSED;
  }
  if (err) {
    free(buf);
    return err;
  }
  *out = buf;
  *out_len = used;
  return SMPL_OK;
}

static int connect_to(const char *path, int *out, diag_t *diag)
{
  struct sockaddr_un sa;
  int err = make_address(path, &sa, diag);
  if (err)
    return err;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return diag_fail_errno(diag, "control socket");
  if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0) {
    *out = fd;
    return SMPL_OK;
  }
  int why = errno;
  close(fd);
  errno = why;
  if (why == ENOENT || why == ECONNREFUSED)
    return diag_fail(diag, SMPL_ECLOSED, "%s: no running program answers on this control socket", path);
  return diag_fail_errno(diag, "%s: cannot connect to this control socket", path);
}

static int read_reply(const char *path, const char *text, size_t len, json_t **reply, diag_t *diag)
{
  json_error_t why;
  json_t *r = json_loadb(text, len, CONTROL_JSON_DEPTH_FLAGS, &why);
  if (!json_is_object(r)) {
    json_decref(r);
    return diag_fail(diag, SMPL_EPROTO, "%s: %s", path,
                     len == 0 ? "closed without an answer" : "the answer is not JSON");
  }
  if (!json_is_true(json_object_get(r, "ok"))) {
    const char *error = json_string_value(json_object_get(r, "error"));
    int err = diag_fail(diag, SMPL_ESERVER, "%s", error != NULL ? error : "refused without a reason");
    json_decref(r);
    return err;
  }
  *reply = r;
  return SMPL_OK;
}

int control_exit(int err)
{
  return err == SMPL_OK ? 0 : err == SMPL_ECLOSED ? CONTROL_EXIT_ABSENT : CONTROL_EXIT_FAILED;
}

/* A plain or quoted scalar on the rest of a line, without what follows: a pure guess, bounded by the line. */
static size_t cut_scalar(char **at)
{
  char *from = *at + strspn(*at, " \t");
  size_t line = strcspn(from, "\r\n");
  if (*from == '"' || *from == '\'') {
    char *end = memchr(from + 1, *from, line > 0 ? line - 1 : 0);
    *at = from + 1;
    return end != NULL ? (size_t)(end - from - 1) : 0;
  }
  *at = from;
  for (size_t i = 1; i < line; i++)
    if (from[i] == '#' && (from[i - 1] == ' ' || from[i - 1] == '\t'))
      line = i;
  while (line > 0 && (from[line - 1] == ' ' || from[line - 1] == '\t'))
    line--;
  return line;
}

static char *control_line(char *text)
{
  static const char key[] = "control:";
  for (char *line = text; line != NULL; line = strchr(line, '\n')) {
    line += *line == '\n';
    char *value = line + sizeof key - 1;
    if (strncmp(line, key, sizeof key - 1) != 0)
      continue;
    size_t len = cut_scalar(&value);
    return len > 0 ? strndup(value, len) : NULL;
  }
  return NULL;
}

char *control_guess(const char *config, const char *fallback)
{
  char *text = NULL, *named = NULL;
  size_t len = 0;
  if (file_read_trusted(config, CONF_FILE_MAX, &text, &len, NULL) == SMPL_OK)
    named = control_line(text);
  free(text);
  const char *chosen = named != NULL ? named : fallback;
  char *path = chosen != NULL ? file_beside(config, chosen) : NULL;
  free(named);
  return path;
}

int control_call(const char *path, const json_t *body, uint64_t timeout_ms, json_t **reply, diag_t *diag)
{
  *reply = NULL;
  int fd = -1;
  char *answer = NULL;
  size_t answer_len = 0;
  uint64_t deadline = clock_mono_ms() + timeout_ms;
  char *text = json_dumps(body, JSON_COMPACT);
  if (text == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "control socket: out of memory");
  int err = connect_to(path, &fd, diag);
  if (err)
    goto out;
  err = send_all(fd, text, strlen(text), deadline);
  if (!err)
    err = send_all(fd, "\n", 1, deadline);
  if (!err)
    err = receive_all(fd, deadline, &answer, &answer_len);
  if (err) {
    diag_fail(diag, err, "%s: %s", path, smpl_strerror(err));
    goto out;
  }
  err = read_reply(path, answer, answer_len, reply, diag);
out:
  if (fd >= 0)
    close(fd);
  free(answer);
  free(text);
  return err;
}
