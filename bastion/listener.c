#include "bastion/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bastion/source.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

enum { DROP_LOG_MS = 10000 };

struct listener {
  struct listener *next;
  broker_t *broker;
  uv_poll_t poll;
  endpoint_t address;
  int fd;
  bool fresh; /* opened by the call that is under way */
};

static size_t waiting_for_login(const broker_t *b)
{
  size_t n = 0;
  for (const session_t *s = b->sessions; s != NULL; s = s->next)
    n += !s->signed_in;
  return n;
}

static size_t waiting_from(const broker_t *b, const ip_t *source)
{
  size_t n = 0;
  for (const session_t *s = b->sessions; s != NULL; s = s->next)
    n += !s->signed_in && source_same(&s->source.ip, source);
  return n;
}

/* Before the limit for all, so that one source alone cannot reach it. */
static bool source_is_full(broker_t *b, const ip_t *source)
{
  if (waiting_from(b, source) < b->config->limits.startups_per_source)
    return false;
  b->dropped_of_source++;
  return true;
}

static bool is_penalised(broker_t *b, const ip_t *source)
{
  if (config_is_exempt(b->config, source) || penalty_left(b->penalties, source, clock_mono_ms()) == 0)
    return false;
  b->dropped_by_penalty++;
  return true;
}

static bool must_drop(const broker_t *b)
{
  uint16_t random = 0;
  if (b->connections >= b->config->limits.connections)
    return true;
  RAND_bytes((unsigned char *)&random, sizeof random);
  return startups_drop(&b->config->limits.startups, waiting_for_login(b), random % 100u);
}

/* A line before the version string is allowed (RFC 4253 §4.2); ssh -v shows it. */
static void drop(broker_t *b, int fd, const endpoint_t *from, const char *words)
{
  char text[ENDPOINT_TEXT_MAX];
  ssize_t ignored = send(fd, words, strlen(words), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)ignored;
  close(fd);
  b->dropped++;
  uint64_t now = clock_mono_ms();
  if (b->drop_logged_at != 0 && now - b->drop_logged_at < DROP_LOG_MS)
    return;
  b->drop_logged_at = now;
  log_warn("connection from %s dropped: %zu connections, %zu of them have not signed in, %zu of these from "
           "its source (%llu dropped so far)",
           endpoint_format(from, text), b->connections, waiting_for_login(b), waiting_from(b, &from->ip),
           (unsigned long long)b->dropped);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
  listener_t *l = poll->data;
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
    b->accepted++;
    if (is_penalised(b, &from.ip))
      drop(b, fd, &from, "smplkit bastion: too many failed logins from here, try again later\r\n");
    else if (source_is_full(b, &from.ip) || must_drop(b))
      drop(b, fd, &from, "smplkit bastion: too many connections, try again later\r\n");
    else
      session_start(b, fd, &from);
  }
}

static int bind_fd(const endpoint_t *address, int *fd)
{
  struct sockaddr_storage sa;
  int on = 1;
  socklen_t len = endpoint_to_sockaddr(address, &sa);
  *fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (*fd < 0)
    return SMPL_ESYS;
  setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (sa.ss_family == AF_INET6)
    setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(*fd, (struct sockaddr *)&sa, len) == 0 && listen(*fd, LISTENER_BACKLOG) == 0)
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
  for (const listener_t *l = b->listeners; l != NULL; l = l->next)
    if (same(&l->address, address))
      return true;
  return false;
}

static int open_one(broker_t *b, const endpoint_t *address, const config_t *config, diag_t *diag)
{
  listener_t *l = calloc(1, sizeof *l);
  if (l == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (bind_fd(address, &l->fd)) {
    free(l);
    return explain_bind(address, config, diag);
  }
  uv_poll_init(b->loop, &l->poll, l->fd);
  l->poll.data = l;
  l->broker = b;
  l->address = *address;
  l->fresh = true;
  l->next = b->listeners;
  b->listeners = l;
  if (b->accepting)
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
  return SMPL_OK;
}

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void close_one(listener_t **at)
{
  listener_t *l = *at;
  *at = l->next;
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
  for (listener_t **at = &b->listeners; *at != NULL;) {
    if (err && (*at)->fresh) {
      close_one(at);
      continue;
    }
    (*at)->fresh = false;
    at = &(*at)->next;
  }
  return err;
}

void listener_close_others(broker_t *b, const config_t *config)
{
  for (listener_t **at = &b->listeners; *at != NULL;) {
    bool keep = false;
    const endpoint_t *want = config != NULL ? config->listen.items : NULL;
    for (size_t i = 0; config != NULL && i < config->listen.count; i++)
      keep = keep || same(&want[i], &(*at)->address);
    if (keep)
      at = &(*at)->next;
    else
      close_one(at);
  }
}

void listener_accept(broker_t *b, bool on)
{
  if (on == b->accepting)
    return;
  b->accepting = on;
  for (listener_t *l = b->listeners; l != NULL; l = l->next) {
    if (on)
      uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
    else
      uv_poll_stop(&l->poll);
  }
}
