#include "resolver/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/ip.h"
#include "resolver/limits.h"
#include "resolver/respond.h"

enum {
  FRAME = 2,                            /* the length before a message */
  IN_SIZE = 2 * (FRAME + MESSAGE_MAX),  /* what was kept of one message, and what one read adds */
  OUT_SIZE = 2 * (FRAME + MESSAGE_MAX), /* answers gathered before they are sent */
  ACCEPTS_MAX = 64,                     /* connections taken in one go */
};

struct tcp_conn {
  int fd; /* -1: closed, freed by the next sweep */
  size_t listener;
  ip_t peer;
  uint64_t born_ms, active_ms;
  tcp_conn_t *prev, *next; /* by active_ms, ascending; or the list of closed ones */
  uint8_t *in;             /* the beginning of a message, in_len bytes */
  size_t in_len;
  uint8_t *out; /* answers not taken yet, out_len bytes */
  size_t out_len;
  bool ending; /* the peer will send no more, or nothing that is listened to */
};

struct tcp {
  int epoll_fd;
  int spare_fd; /* given up when descriptors run out, to take a connection and end it */
  responder_t *responder;
  size_t conns_max, buffers_max, buffers;
  atomic_size_t count;
  tcp_conn_t *first, *last, *closed;
  uint64_t now_ms;
  bool draining;
  uint8_t in[IN_SIZE];
  uint8_t out[OUT_SIZE];
};

tcp_t *tcp_new(int epoll_fd, responder_t *responder, size_t conns_max, size_t buffers_max)
{
  tcp_t *t = calloc(1, sizeof *t);
  if (t == NULL)
    return NULL;
  t->epoll_fd = epoll_fd;
  t->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  t->responder = responder;
  t->conns_max = conns_max;
  t->buffers_max = buffers_max;
  return t;
}

static void unlink_conn(tcp_t *t, tcp_conn_t *c)
{
  *(c->prev != NULL ? &c->prev->next : &t->first) = c->next;
  *(c->next != NULL ? &c->next->prev : &t->last) = c->prev;
}

static void append_conn(tcp_t *t, tcp_conn_t *c)
{
  c->next = NULL;
  c->prev = t->last;
  *(t->last != NULL ? &t->last->next : &t->first) = c;
  t->last = c;
}

/* A whole query came or an answer was taken. */
static void touch(tcp_t *t, tcp_conn_t *c)
{
  c->active_ms = t->now_ms;
  if (t->last == c)
    return;
  unlink_conn(t, c);
  append_conn(t, c);
}

static void drop_buffer(tcp_t *t, uint8_t **buffer, size_t *len)
{
  free(*buffer);
  t->buffers -= *len;
  *buffer = NULL;
  *len = 0;
}

/* Keeps bytes until later, in place of what *buffer held. False when there is no room for them. */
static bool keep(tcp_t *t, uint8_t **buffer, size_t *len, const uint8_t *data, size_t n)
{
  drop_buffer(t, buffer, len);
  if (n == 0)
    return true;
  if (t->buffers_max - t->buffers < n)
    return false;
  *buffer = malloc(n);
  if (*buffer == NULL)
    return false;
  memcpy(*buffer, data, n);
  *len = n;
  t->buffers += n;
  return true;
}

/* The struct stays until the sweep: the current batch may hold another event for it. */
static void close_conn(tcp_t *t, tcp_conn_t *c)
{
  if (c->fd < 0)
    return;
  close(c->fd);
  c->fd = -1;
  drop_buffer(t, &c->in, &c->in_len);
  drop_buffer(t, &c->out, &c->out_len);
  unlink_conn(t, c);
  c->next = t->closed;
  t->closed = c;
  atomic_store_explicit(&t->count, atomic_load_explicit(&t->count, memory_order_relaxed) - 1,
                        memory_order_relaxed);
}

static void free_closed(tcp_t *t)
{
  while (t->closed != NULL) {
    tcp_conn_t *c = t->closed;
    t->closed = c->next;
    free(c);
  }
}

void tcp_free(tcp_t *tcp)
{
  if (tcp == NULL)
    return;
  while (tcp->first != NULL)
    close_conn(tcp, tcp->first);
  free_closed(tcp);
  if (tcp->spare_fd >= 0)
    close(tcp->spare_fd);
  free(tcp);
}

size_t tcp_count(const tcp_t *tcp)
{
  return atomic_load_explicit(&tcp->count, memory_order_relaxed);
}

static void watch(tcp_t *t, tcp_conn_t *c, int how)
{
  struct epoll_event ev = {.events = c->out_len > 0 ? EPOLLOUT : EPOLLIN, .data.ptr = c};
  if (epoll_ctl(t->epoll_fd, how, c->fd, &ev) < 0)
    close_conn(t, c);
}

static void add_conn(tcp_t *t, int fd, size_t listener, const ip_t *peer)
{
  tcp_conn_t *c = calloc(1, sizeof *c);
  if (c == NULL) {
    close(fd);
    return;
  }
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  *c = (tcp_conn_t){
      .fd = fd, .listener = listener, .peer = *peer, .born_ms = t->now_ms, .active_ms = t->now_ms};
  append_conn(t, c);
  atomic_store_explicit(&t->count, atomic_load_explicit(&t->count, memory_order_relaxed) + 1,
                        memory_order_relaxed);
  watch(t, c, EPOLL_CTL_ADD);
}

/* The longest idle connection gives way to the one that waits. Without any the one that waits is ended:
 * left alone, epoll would report it for ever. */
static void out_of_files(tcp_t *t, int listen_fd)
{
  if (t->first != NULL) {
    close_conn(t, t->first);
    return;
  }
  if (t->spare_fd >= 0)
    close(t->spare_fd);
  int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
  if (fd >= 0)
    close(fd);
  t->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void tcp_accept(tcp_t *tcp, int fd, size_t listener)
{
  tcp->now_ms = clock_mono_ms();
  for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    endpoint_t peer;
    int conn = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (conn < 0) {
      if (errno == EMFILE || errno == ENFILE)
        out_of_files(tcp, fd);
      return;
    }
    if (endpoint_from_sockaddr((const struct sockaddr *)&sa, &peer)) {
      close(conn);
      continue;
    }
    if (tcp_count(tcp) >= tcp->conns_max)
      close_conn(tcp, tcp->first);
    add_conn(tcp, conn, listener, &peer.ip);
  }
}

/* Sends what lies in data, keeps what the kernel does not take. False when the connection was closed. */
static bool flush(tcp_t *t, tcp_conn_t *c, const uint8_t *data, size_t len)
{
  size_t sent = 0;
  while (sent < len) {
    ssize_t n = send(c->fd, data + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno != EAGAIN) {
      close_conn(t, c);
      return false;
    }
    if (n < 0)
      break;
    sent += (size_t)n;
  }
  if (sent > 0)
    touch(t, c);
  if (sent == len)
    return true;
  if (keep(t, &c->out, &c->out_len, data + sent, len - sent))
    return true;
  close_conn(t, c);
  return false;
}

/* Answers the whole messages at the beginning of t->in[0, len). Returns how many bytes were used (all,
 * with c->ending, behind what is no query), SIZE_MAX when the connection was closed. Stops early when
 * answers are not taken: what was asked then waits, unread. */
static size_t answer_all(tcp_t *t, tcp_conn_t *c, size_t len, const snapshot_t *s)
{
  size_t used = 0;
  size_t out = 0;
  while (len - used >= FRAME && c->out_len == 0) {
    size_t size = (size_t)t->in[used] << 8 | t->in[used + 1];
    if (len - used - FRAME < size)
      break;
    size_t n = respond(t->responder, s, c->listener, &c->peer, ANSWER_TCP, t->in + used + FRAME, size,
                       t->out + out + FRAME, MESSAGE_MAX);
    used += FRAME + size;
    if (n == 0) { /* not a query: nothing good will follow, but what came before gets its answers */
      c->ending = true;
      used = len;
      break;
    }
    t->out[out] = (uint8_t)(n >> 8);
    t->out[out + 1] = (uint8_t)n;
    out += FRAME + n;
    touch(t, c);
    if (OUT_SIZE - out < FRAME + MESSAGE_MAX) {
      if (!flush(t, c, t->out, out))
        return SIZE_MAX;
      out = 0;
    }
  }
  if (out > 0 && !flush(t, c, t->out, out))
    return SIZE_MAX;
  return used;
}

/* Everything that lies in t->in[0, len) came from c; afterwards the rest is kept. */
static void take(tcp_t *t, tcp_conn_t *c, size_t len, const snapshot_t *s)
{
  bool writing = c->out_len > 0;
  size_t used = answer_all(t, c, len, s);
  if (used == SIZE_MAX)
    return;
  bool done = c->ending && c->out_len == 0;
  if (done || !keep(t, &c->in, &c->in_len, t->in + used, len - used)) {
    close_conn(t, c);
    return;
  }
  if (writing != (c->out_len > 0))
    watch(t, c, EPOLL_CTL_MOD);
}

static void on_readable(tcp_t *t, tcp_conn_t *c, const snapshot_t *s)
{
  size_t kept = c->in_len;
  if (kept > 0)
    memcpy(t->in, c->in, kept);
  ssize_t n = recv(c->fd, t->in + kept, IN_SIZE - kept, MSG_DONTWAIT);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR)
      close_conn(t, c);
    return;
  }
  if (n == 0)
    c->ending = true;
  take(t, c, kept + (size_t)n, s);
}

/* The peer has taken something: the rest of the answers, then the questions that waited. */
static void on_writable(tcp_t *t, tcp_conn_t *c, const snapshot_t *s)
{
  size_t len = c->out_len;
  memcpy(t->out, c->out, len);
  drop_buffer(t, &c->out, &c->out_len);
  if (!flush(t, c, t->out, len) || c->out_len > 0)
    return;
  len = c->in_len;
  if (len > 0)
    memcpy(t->in, c->in, len);
  take(t, c, len, s);
  if (c->fd >= 0 && c->out_len == 0)
    watch(t, c, EPOLL_CTL_MOD);
}

void tcp_event(tcp_t *tcp, tcp_conn_t *conn, uint32_t events, const snapshot_t *snapshot)
{
  if (conn->fd < 0)
    return;
  tcp->now_ms = clock_mono_ms();
  if (tcp->now_ms - conn->born_ms > TCP_LIFE_MS || (events & EPOLLERR))
    close_conn(tcp, conn);
  else if (conn->out_len > 0)
    on_writable(tcp, conn, snapshot);
  else
    on_readable(tcp, conn, snapshot);
}

static void close_finished(tcp_t *t)
{
  for (tcp_conn_t *c = t->first; c != NULL;) {
    tcp_conn_t *next = c->next;
    if (c->in_len == 0 && c->out_len == 0)
      close_conn(t, c);
    c = next;
  }
}

void tcp_drain(tcp_t *tcp, const snapshot_t *snapshot)
{
  tcp->draining = true;
  tcp->now_ms = clock_mono_ms();
  /* Answering moves a connection to the list's end: as many steps as there are connections reach each. */
  size_t count = tcp_count(tcp);
  tcp_conn_t *c = tcp->first;
  for (size_t i = 0; i < count && c != NULL; i++) {
    tcp_conn_t *next = c->next;
    if (c->out_len == 0)
      on_readable(tcp, c, snapshot);
    c = next;
  }
  close_finished(tcp);
}

int tcp_sweep(tcp_t *tcp)
{
  if (tcp->draining)
    close_finished(tcp);
  free_closed(tcp);
  if (tcp->first == NULL)
    return -1;
  tcp->now_ms = clock_mono_ms();
  while (tcp->first != NULL && tcp->now_ms - tcp->first->active_ms >= TCP_IDLE_MS)
    close_conn(tcp, tcp->first);
  free_closed(tcp);
  return tcp->first == NULL ? -1 : (int)(TCP_IDLE_MS - (tcp->now_ms - tcp->first->active_ms));
}
