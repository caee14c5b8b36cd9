/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/io/tcp.h"

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

#include "common/base/clock.h"
#include "common/net/crowd.h"
#include "common/base/error.h"
#include "common/base/ip.h"
#include "common/base/list.h"
#include "common/base/turns.h"
#include "resolver/limits.h"
#include "resolver/answer/respond.h"

enum {
  FRAME = 2,                                      /* the length before a message */
  IN_SIZE = FRAME + MESSAGE_MAX + TCP_TURN_BYTES, /* what was kept of one message, and what one read adds */
  OUT_SIZE = 2 * (FRAME + MESSAGE_MAX),           /* answers of one turn */
  KEPT_STEP = 256,                                /* bytes by which what is kept grows */
  V6_NET = 6,                                     /* bytes of an address: /48 */
  ACCEPTS_MAX = 64,                               /* connections taken in one go */
};

/* Bytes that are kept until later. */
typedef struct kept {
  uint8_t *data;
  size_t len, size;
} kept_t;

struct tcp_conn {
  int fd; /* -1: closed, freed by the next sweep */
  size_t listener;
  ip_t peer;
  uint64_t born_ms, active_ms;
  list_t link;           /* in `conns`, by active_ms, ascending; or in `closed` */
  crowd_member_t place;  /* renewed with active_ms */
  crowd_member_t memory; /* in the crowd while it keeps bytes */
  kept_t in;             /* what came and was not answered yet */
  kept_t out;            /* answers not taken yet */
  later_owner_t asked;   /* questions whose answers come from elsewhere */
  turns_item_t turn;
  bool waiting; /* for its turn */
  bool more;    /* in holds questions that wait for the next turn */
  bool hung_up; /* epoll says that the peer has ended: it is read to the end */
  bool ending;  /* the peer will send no more, or nothing that is listened to */
};

struct tcp {
  int epoll_fd;
  int spare_fd; /* given up when descriptors run out, to take a connection and end it */
  responder_t *responder;
  later_t *later; /* NULL: nothing waits */
  size_t conns_max, buffers_max;
  atomic_size_t count;
  list_t conns, closed;
  crowd_t *places; /* connections, of an address in the same order */
  crowd_t *memory; /* bytes of kept_t; of an address, who keeps something for longest is the first */
  uint64_t now_ms;
  bool draining;
  turns_t *turns; /* connections that wait for one */
  uint8_t in[IN_SIZE];
  uint8_t out[OUT_SIZE];
  uint8_t late[FRAME + MESSAGE_MAX]; /* an answer that comes by itself, perhaps within a turn */
};

tcp_t *tcp_new(int epoll_fd, responder_t *responder, size_t conns_max, size_t buffers_max)
{
  tcp_t *t = calloc(1, sizeof *t);
  if (t == NULL)
    return NULL;
  t->epoll_fd = epoll_fd;
  t->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  t->responder = responder;
  list_init(&t->conns);
  list_init(&t->closed);
  t->conns_max = conns_max;
  t->buffers_max = buffers_max;
  t->places = crowd_new();
  t->memory = crowd_new();
  t->turns = turns_new(&(turns_conf_t){.places = conns_max + 1});
  if (t->places == NULL || t->memory == NULL || t->turns == NULL) {
    tcp_free(t);
    return NULL;
  }
  return t;
}

static tcp_conn_t *first_conn(const tcp_t *t)
{
  return LIST_FIRST(&t->conns, tcp_conn_t, link);
}

/* The struct stays until the sweep: the current batch may hold another event for it. */
static void close_conn(tcp_t *t, tcp_conn_t *c)
{
  if (c->fd < 0)
    return;
  close(c->fd);
  c->fd = -1;
  crowd_leave(t->places, &c->place);
  crowd_leave(t->memory, &c->memory);
  later_leave(t->later, &c->asked);
  if (c->waiting)
    turns_leave(t->turns, &c->turn);
  c->waiting = false;
  free(c->in.data);
  free(c->out.data);
  c->in = c->out = (kept_t){0};
  list_remove(&c->link);
  list_add_first(&t->closed, &c->link);
  atomic_store_explicit(&t->count, atomic_load_explicit(&t->count, memory_order_relaxed) - 1,
                        memory_order_relaxed);
}

/* A whole query came or an answer was taken. */
static void touch(tcp_t *t, tcp_conn_t *c)
{
  c->active_ms = t->now_ms;
  if (LIST_LAST(&t->conns, tcp_conn_t, link) == c)
    return;
  crowd_renew(&c->place);
  list_remove(&c->link);
  list_add_last(&t->conns, &c->link);
}

static tcp_conn_t *of_memory(crowd_member_t *m)
{
  return LIST_ITEM(m, tcp_conn_t, memory);
}

/* The connection is about to keep n more bytes. Above the limit the one that gives way is closed, until there
 * is room: the oldest of the source that keeps most. False, and closed, when that is this one. */
static bool reserve(tcp_t *t, tcp_conn_t *c, size_t n)
{
  if (crowd_add(t->memory, &c->memory, &c->peer, n)) {
    close_conn(t, c);
    return false;
  }
  while (c->fd >= 0 && crowd_total(t->memory) > t->buffers_max)
    close_conn(t, of_memory(crowd_heaviest(t->memory)));
  return c->fd >= 0;
}

static void drop(tcp_t *t, tcp_conn_t *c, kept_t *k)
{
  if (k->data == NULL)
    return;
  free(k->data);
  crowd_less(t->memory, &c->memory, k->size);
  *k = (kept_t){0};
  if (c->memory.weight == 0)
    crowd_leave(t->memory, &c->memory);
}

/* Keeps n more bytes until later. False, and closed, when there is no room for them. */
static bool keep(tcp_t *t, tcp_conn_t *c, kept_t *k, const uint8_t *data, size_t n)
{
  size_t size = (k->len + n + KEPT_STEP - 1) / KEPT_STEP * KEPT_STEP;
  if (n == 0)
    return true;
  if (size > k->size) {
    if (!reserve(t, c, size - k->size))
      return false;
    uint8_t *grown = realloc(k->data, size);
    if (grown == NULL) {
      close_conn(t, c);
      return false;
    }
    *k = (kept_t){grown, k->len, size};
  }
  /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): what has a size has its bytes */
  memcpy(k->data + k->len, data, n);
  k->len += n;
  return true;
}

static void free_closed(tcp_t *t)
{
  LIST_EACH(tcp_conn_t, c, &t->closed, link) {
    list_remove(&c->link);
    free(c);
  }
}

void tcp_free(tcp_t *tcp)
{
  if (tcp == NULL)
    return;
  LIST_EACH(tcp_conn_t, c, &tcp->conns, link)
    close_conn(tcp, c);
  free_closed(tcp);
  crowd_free(tcp->places);
  crowd_free(tcp->memory);
  turns_free(tcp->turns);
  if (tcp->spare_fd >= 0)
    close(tcp->spare_fd);
  free(tcp);
}

size_t tcp_count(const tcp_t *tcp)
{
  return atomic_load_explicit(&tcp->count, memory_order_relaxed);
}

/* Each change is reported once: a connection with more to say than one turn takes waits for the next by
 * itself. */
static void watch(tcp_t *t, tcp_conn_t *c, int how)
{
  uint32_t what = c->out.len > 0 ? EPOLLOUT : EPOLLIN | EPOLLRDHUP;
  struct epoll_event ev = {.events = what | EPOLLET, .data.ptr = c};
  if (epoll_ctl(t->epoll_fd, how, c->fd, &ev) < 0)
    close_conn(t, c);
}

static void want_turn(tcp_t *t, tcp_conn_t *c)
{
  turns_item_t *displaced; /* none: there are as many places as connections */
  turns_key_t source = turns_key(c->peer.b, ip_is_v4(&c->peer) ? sizeof c->peer.b : V6_NET);
  if (c->waiting)
    return;
  c->waiting = turns_join(t->turns, &source, 1, &c->turn, &displaced) == SMPL_OK;
  if (!c->waiting)
    close_conn(t, c);
}

static void add_conn(tcp_t *t, int fd, size_t listener, const ip_t *peer)
{
  tcp_conn_t *c = calloc(1, sizeof *c);
  if (c == NULL || crowd_add(t->places, &c->place, peer, 1)) {
    free(c);
    close(fd);
    return;
  }
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->fd = fd;
  c->listener = listener;
  c->peer = *peer;
  c->born_ms = c->active_ms = t->now_ms;
  list_init(&c->asked.places);
  list_add_last(&t->conns, &c->link);
  atomic_store_explicit(&t->count, atomic_load_explicit(&t->count, memory_order_relaxed) + 1,
                        memory_order_relaxed);
  watch(t, c, EPOLL_CTL_ADD);
}

static tcp_conn_t *of_place(crowd_member_t *m)
{
  return LIST_ITEM(m, tcp_conn_t, place);
}

/* The longest idle connection of the source with most gives way; where networks have equally many, the
 * longest idle one of all. */
static bool make_place(tcp_t *t)
{
  tcp_conn_t *first = first_conn(t);
  if (first == NULL)
    return false;
  crowd_member_t *heaviest = crowd_heaviest(t->places);
  close_conn(t, crowd_compare(&first->place, heaviest) == 0 ? first : of_place(heaviest));
  return true;
}

/* Without a connection that could give way the one that waits is ended: left alone, epoll would report it for
 * ever. */
static void out_of_files(tcp_t *t, int listen_fd)
{
  if (make_place(t))
    return;
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
      make_place(tcp);
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
  return keep(t, c, &c->out, data + sent, len - sent);
}

static size_t message_size(const uint8_t *frame)
{
  return FRAME + ((size_t)frame[0] << 8 | frame[1]);
}

/* Whole answers: behind those that were not taken yet, or else at once. False when the connection was closed.
 */
static bool emit(tcp_t *t, tcp_conn_t *c, const uint8_t *data, size_t len)
{
  return c->out.len > 0 ? keep(t, c, &c->out, data, len) : flush(t, c, data, len);
}

static void put_length(uint8_t *frame, size_t len)
{
  frame[0] = (uint8_t)(len >> 8);
  frame[1] = (uint8_t)len;
}

/* Answers one message into frame, as the bytes that go out: their number in *out, 0 when it waits for its
 * answer. False when it is no query, or when its place was taken by closing the connection. */
static bool answer_one(tcp_t *t, tcp_conn_t *c, const uint8_t *msg, size_t len, const snapshot_t *s,
                       uint8_t *frame, size_t *out)
{
  exchange_t x = {.transport = EXCHANGE_TCP,
                  .listener = c->listener,
                  .peer = &c->peer,
                  .msg = msg,
                  .len = len,
                  .out = frame + FRAME,
                  .cap = MESSAGE_MAX};
  snapshot_choose(s, c->listener, &c->peer, 1, &x.chosen);
  exchange_verdict_t verdict = respond(t->responder, s, &x);
  *out = 0;
  if (verdict == EXCHANGE_LATER &&
      later_take(t->later, s, &x, &(later_way_t){.fd = -1, .owner = &c->asked})) {
    touch(t, c);
    return true;
  }
  put_length(frame, x.out_len);
  *out = FRAME + x.out_len;
  return verdict != EXCHANGE_DROP && c->fd >= 0;
}

/* Answers the whole messages at the beginning of t->in[0, len), as many as one turn has room for. Returns how
 * many bytes were used (all, with c->ending, behind what is no query), SIZE_MAX when the connection was
 * closed. */
static size_t answer_turn(tcp_t *t, tcp_conn_t *c, size_t len, const snapshot_t *s)
{
  size_t used = 0;
  size_t out = 0;
  while (len - used >= FRAME && OUT_SIZE - out >= FRAME + MESSAGE_MAX) {
    size_t size = message_size(t->in + used);
    size_t n;
    if (len - used < size)
      break;
    bool more = answer_one(t, c, t->in + used + FRAME, size - FRAME, s, t->out + out, &n);
    if (c->fd < 0)
      return SIZE_MAX;
    used += size;
    if (!more) { /* not a query: nothing good will follow, but what came before gets its answers */
      c->ending = true;
      used = len;
      break;
    }
    out += n;
  }
  if (out > 0) {
    touch(t, c);
    if (!emit(t, c, t->out, out))
      return SIZE_MAX;
  }
  return used;
}

/* Everything that was asked is answered, and nothing more will be. */
static bool is_over(const tcp_conn_t *c)
{
  return c->ending && c->out.len == 0 && !c->more && list_empty(&c->asked.places);
}

static void deliver(void *ctx, later_owner_t *owner, const uint8_t *msg, size_t len)
{
  tcp_t *t = ctx;
  tcp_conn_t *c = LIST_ITEM(owner, tcp_conn_t, asked);
  uint8_t *frame = t->late;
  put_length(frame, len);
  memcpy(frame + FRAME, msg, len);
  t->now_ms = clock_mono_ms();
  bool begun = c->out.len > 0;
  if (!emit(t, c, frame, FRAME + len))
    return;
  if (is_over(c))
    close_conn(t, c);
  else if (c->out.len > 0 && !begun)
    watch(t, c, EPOLL_CTL_MOD);
}

void tcp_later(tcp_t *tcp, later_t *later)
{
  tcp->later = later;
  later_tcp(later, deliver, tcp);
}

/* Everything that lies in t->in[0, len) came from the connection. What is not answered in this turn is kept.
 */
static void take(tcp_t *t, tcp_conn_t *c, size_t len, const snapshot_t *s)
{
  size_t used = answer_turn(t, c, len, s);
  if (used == SIZE_MAX)
    return;
  size_t rest = len - used;
  const uint8_t *left = t->in + used;
  c->more = rest >= FRAME && rest >= message_size(left);
  if (is_over(c)) {
    close_conn(t, c);
    return;
  }
  if (!keep(t, c, &c->in, left, rest))
    return;
  if (c->out.len > 0)
    watch(t, c, EPOLL_CTL_MOD);
  else if (c->more)
    want_turn(t, c);
}

static size_t take_kept(tcp_t *t, tcp_conn_t *c)
{
  size_t len = c->in.len;
  if (len > 0)
    memcpy(t->in, c->in.data, len);
  drop(t, c, &c->in);
  return len;
}

/* One read more, into t->in behind what was kept. While the message is not whole, that alone is put aside. */
static void on_readable(tcp_t *t, tcp_conn_t *c, const snapshot_t *s)
{
  size_t kept = c->in.len;
  if (kept > 0)
    memcpy(t->in, c->in.data, kept < FRAME ? kept : FRAME);
  size_t whole = kept >= FRAME ? message_size(t->in) : 0;
  size_t room = whole > kept + TCP_TURN_BYTES ? whole - kept : TCP_TURN_BYTES;
  ssize_t n = recv(c->fd, t->in + kept, room, MSG_DONTWAIT);
  if (n < 0) {
    if (errno == EINTR)
      want_turn(t, c);
    else if (errno != EAGAIN)
      close_conn(t, c);
    return;
  }
  if (n == 0)
    c->ending = true;
  if (n > 0 && whole > kept + (size_t)n)
    keep(t, c, &c->in, t->in + kept, (size_t)n);
  else
    take(t, c, take_kept(t, c) + (size_t)n, s);
  bool perhaps_more = (size_t)n == room || (n > 0 && c->hung_up);
  if (c->fd >= 0 && c->out.len == 0 && perhaps_more)
    want_turn(t, c);
}

/* The peer has taken something: the rest of the answers, then the questions that waited. */
static void on_writable(tcp_t *t, tcp_conn_t *c, const snapshot_t *s)
{
  size_t len = c->out.len;
  memcpy(t->out, c->out.data, len);
  drop(t, c, &c->out);
  if (!flush(t, c, t->out, len) || c->out.len > 0)
    return;
  take(t, c, take_kept(t, c), s);
  if (c->fd >= 0 && c->out.len == 0)
    watch(t, c, EPOLL_CTL_MOD); /* reports anew what is there to be read */
}

void tcp_event(tcp_t *tcp, tcp_conn_t *conn, uint32_t events)
{
  if (conn->fd < 0)
    return;
  if ((events & EPOLLERR) != 0) {
    close_conn(tcp, conn);
    return;
  }
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0)
    conn->hung_up = true;
  want_turn(tcp, conn);
}

static void turn(tcp_t *t, tcp_conn_t *c, const snapshot_t *s)
{
  if (t->now_ms - c->born_ms > TCP_LIFE_MS)
    close_conn(t, c);
  else if (c->out.len > 0)
    on_writable(t, c, s);
  else if (c->more)
    take(t, c, take_kept(t, c), s);
  else
    on_readable(t, c, s);
}

/* A turn that c->more took has read nothing: what has come meanwhile is read in the one after. */
size_t tcp_serve(tcp_t *tcp, const snapshot_t *snapshot, size_t max)
{
  if (turns_waiting(tcp->turns) == 0)
    return 0;
  tcp->now_ms = clock_mono_ms();
  for (size_t i = 0; i < max; i++) {
    turns_item_t *item = turns_take(tcp->turns);
    if (item == NULL)
      break;
    tcp_conn_t *c = LIST_ITEM(item, tcp_conn_t, turn);
    bool had_more = c->more;
    c->waiting = false;
    turn(tcp, c, snapshot);
    if (had_more && c->fd >= 0 && c->out.len == 0)
      want_turn(tcp, c);
  }
  return turns_waiting(tcp->turns);
}

static void close_finished(tcp_t *t)
{
  LIST_EACH(tcp_conn_t, c, &t->conns, link)
    if (c->in.len == 0 && c->out.len == 0 && !c->waiting && list_empty(&c->asked.places))
      close_conn(t, c);
}

void tcp_drain(tcp_t *tcp)
{
  tcp->draining = true;
  LIST_EACH(tcp_conn_t, c, &tcp->conns, link)
    want_turn(tcp, c);
}

int tcp_sweep(tcp_t *tcp)
{
  if (tcp->draining)
    close_finished(tcp);
  free_closed(tcp);
  tcp_conn_t *c = first_conn(tcp);
  if (c == NULL)
    return -1;
  tcp->now_ms = clock_mono_ms();
  while (c != NULL && tcp->now_ms - c->active_ms >= TCP_IDLE_MS) {
    close_conn(tcp, c);
    c = first_conn(tcp);
  }
  free_closed(tcp);
  return c == NULL ? -1 : (int)(TCP_IDLE_MS - (tcp->now_ms - c->active_ms));
}
