/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/io/later.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/net/crowd.h"
#include "resolver/limits.h"

enum { CONTROL_SIZE = 64 /* the address asked, as the kernel told it (udp.c) */ };

typedef struct later_place {
  crowd_member_t share; /* first: a place is found by it */
  list_t link;          /* in `waiting`, by until_ms, ascending; or in `free` */
  list_t owned;
  later_owner_t *owner; /* NULL: UDP */
  uint64_t ticket;
  uint64_t until_ms;
  uint64_t generation; /* of the snapshot that it was asked under */
  size_t listener;
  ip_t peer;
  int fd;
  socklen_t name_len;
  size_t control_len;
  struct sockaddr_in6 name; /* fits sockaddr_in too */
  _Alignas(struct cmsghdr) uint8_t control[CONTROL_SIZE];
  size_t len;
  uint8_t msg[QUERY_PACKED_MAX];
} later_place_t;

struct later {
  responder_t *responder;
  const elsewhere_t *elsewhere;
  void (*deliver)(void *ctx, later_owner_t *owner, const uint8_t *msg, size_t len);
  void *deliver_ctx;
  crowd_t *crowd;
  list_t waiting, free;
  size_t max;
  uint64_t asked; /* tickets given so far */
  atomic_size_t count;
  uint8_t out[MESSAGE_MAX];
  later_place_t places[]; /* max, and one for who comes while another gives way */
};

int later_new(responder_t *responder, const elsewhere_t *elsewhere, size_t places, later_t **out)
{
  *out = NULL;
  later_t *l = calloc(1, sizeof *l + (places + 1) * sizeof *l->places);
  if (l == NULL)
    return SMPL_ENOMEM;
  l->responder = responder;
  l->elsewhere = elsewhere;
  l->max = places;
  l->crowd = crowd_new();
  list_init(&l->waiting);
  list_init(&l->free);
  for (size_t i = 0; i <= places; i++) {
    list_init(&l->places[i].owned);
    list_add_first(&l->free, &l->places[i].link);
  }
  if (l->crowd == NULL) {
    later_free(l);
    return SMPL_ENOMEM;
  }
  *out = l;
  return SMPL_OK;
}

void later_free(later_t *l)
{
  if (l == NULL)
    return;
  crowd_free(l->crowd);
  free(l);
}

void later_tcp(later_t *l, void (*deliver)(void *ctx, later_owner_t *owner, const uint8_t *msg, size_t len),
               void *ctx)
{
  if (l == NULL)
    return;
  l->deliver = deliver;
  l->deliver_ctx = ctx;
}

size_t later_count(const later_t *l)
{
  return l == NULL ? 0 : atomic_load_explicit(&l->count, memory_order_relaxed);
}

/* ---- places ---- */

static void count(later_t *l, size_t by)
{
  atomic_store_explicit(&l->count, atomic_load_explicit(&l->count, memory_order_relaxed) + by,
                        memory_order_relaxed);
}

/* From here on nobody waits at it; what it keeps stays until the next question is taken. */
static void release(later_t *l, later_place_t *p)
{
  crowd_leave(l->crowd, &p->share);
  list_remove(&p->owned);
  list_remove(&p->link);
  p->ticket = 0;
  list_add_first(&l->free, &p->link);
  count(l, (size_t)-1);
}

/* A new ticket: place i has i, i + n, i + 2n ... of n places; 0 is none. */
static void give_ticket(later_t *l, later_place_t *p)
{
  size_t n = l->max + 1;
  p->ticket = ++l->asked * n + (size_t)(p - l->places);
}

static later_place_t *find(later_t *l, uint64_t ticket)
{
  later_place_t *p = &l->places[ticket % (l->max + 1)];
  return ticket != 0 && p->ticket == ticket ? p : NULL;
}

/* ---- answers ---- */

/* The exchange that waits at a place, seen by the snapshot in force. */
static exchange_t exchange_of(later_t *l, later_place_t *p, const snapshot_t *s)
{
  exchange_t x = {.transport = p->owner != NULL ? EXCHANGE_TCP : EXCHANGE_UDP,
                  .listener = p->listener,
                  .peer = &p->peer,
                  .msg = p->msg,
                  .len = p->len,
                  .out = l->out,
                  .cap = p->owner != NULL ? MESSAGE_MAX : UDP_REPLY_MAX};
  snapshot_choose(s, p->listener, &p->peer, 1, &x.chosen);
  return x;
}

static void send_datagram(const later_place_t *p, uint8_t *msg, size_t len)
{
  struct sockaddr_in6 name = p->name;
  _Alignas(struct cmsghdr) uint8_t control[CONTROL_SIZE];
  struct iovec iov = {msg, len};
  struct msghdr h = {.msg_name = &name, .msg_namelen = p->name_len, .msg_iov = &iov, .msg_iovlen = 1};
  memcpy(control, p->control, sizeof control);
  if (p->control_len > 0) {
    h.msg_control = control;
    h.msg_controllen = p->control_len;
  }
  sendmsg(p->fd, &h, MSG_DONTWAIT); /* what the kernel has no room for is lost, as datagrams may be */
}

/* The place is free afterwards: a connection that is closed by what it gets must not find its question there.
 */
static void send_back(later_t *l, later_place_t *p, size_t len)
{
  later_owner_t *owner = p->owner;
  release(l, p);
  if (len == 0)
    return;
  if (owner == NULL)
    send_datagram(p, l->out, len);
  else
    l->deliver(l->deliver_ctx, owner, l->out, len);
}

static int ask(later_t *l, later_place_t *p, const exchange_t *x)
{
  query_t q;
  if (query_read(p->msg, p->len, &q) != QUERY_READ)
    return SMPL_EINVAL; /* it was read before */
  give_ticket(l, p);
  int err = l->elsewhere->ask(l->elsewhere->ctx, p->ticket, x->chosen.view, &q);
  if (err)
    p->ticket = 0;
  return err;
}

static void say_failed(void *ctx, const query_t *q, reply_t *r)
{
  (void)q;
  r->rcode = DNS_RCODE_SERVFAIL;
  r->ede = *(const uint16_t *)ctx;
}

static void fail(later_t *l, const snapshot_t *s, later_place_t *p, exchange_t *x, uint16_t ede)
{
  respond_filled(l->responder, s, x, say_failed, &ede);
  send_back(l, p, x->out_len);
}

/* True when the snapshot that the question was asked under is not in force any more and the one that is has
 * its own answer, which was sent: a client has no more of a view than it has now. */
static bool judged_anew(later_t *l, const snapshot_t *s, later_place_t *p, exchange_t *x, bool *again)
{
  *again = false;
  if (p->generation == snapshot_generation(s))
    return false;
  if (respond(l->responder, s, x) == EXCHANGE_LATER) {
    p->generation = snapshot_generation(s);
    *again = true;
    return false;
  }
  send_back(l, p, x->out_len);
  return true;
}

void later_answer(later_t *l, const snapshot_t *s, uint64_t ticket, answer_fill_t fill, void *fill_ctx)
{
  later_place_t *p = l == NULL ? NULL : find(l, ticket);
  bool again;
  if (p == NULL)
    return;
  exchange_t x = exchange_of(l, p, s);
  if (judged_anew(l, s, p, &x, &again))
    return;
  if (!again) {
    respond_filled(l->responder, s, &x, fill, fill_ctx);
    send_back(l, p, x.out_len);
  } else if (ask(l, p, &x)) { /* what one snapshot found is not told under another */
    fail(l, s, p, &x, EDE_NOT_READY);
  }
}

static void give_up(later_t *l, const snapshot_t *s, later_place_t *p, uint16_t ede)
{
  bool again;
  exchange_t x = exchange_of(l, p, s);
  uint64_t ticket = p->ticket;
  if (!judged_anew(l, s, p, &x, &again))
    fail(l, s, p, &x, ede);
  if (ticket != 0)
    l->elsewhere->forget(l->elsewhere->ctx, ticket);
}

/* ---- questions ---- */

static void keep(later_place_t *p, const snapshot_t *s, const exchange_t *x, const later_way_t *way)
{
  query_t q;
  query_read(x->msg, x->len, &q); /* it was read before */
  p->len = query_pack(&q, p->msg);
  p->listener = x->listener;
  p->peer = *x->peer;
  p->generation = snapshot_generation(s);
  p->until_ms = clock_mono_ms() + LATER_WAIT_MS;
  p->fd = way->fd;
  p->control_len = 0;
  if (way->from != NULL) {
    memcpy(&p->name, way->from->msg_name, way->from->msg_namelen);
    p->name_len = way->from->msg_namelen;
    p->control_len = way->from->msg_controllen;
    memcpy(p->control, way->from->msg_control, p->control_len);
  }
  p->owner = way->owner;
  if (p->owner != NULL)
    list_add_first(&p->owner->places, &p->owned);
}

static void enter(later_t *l, later_place_t *p)
{
  list_remove(&p->link);
  list_add_last(&l->waiting, &p->link);
  count(l, 1);
}

bool later_take(later_t *l, const snapshot_t *s, exchange_t *x, const later_way_t *way)
{
  uint16_t ede = EDE_NOT_READY;
  crowd_member_t *displaced = NULL;
  later_place_t *p = LIST_FIRST(&l->free, later_place_t, link);
  if (crowd_add_within(l->crowd, &p->share, x->peer, l->max, &displaced) == SMPL_OK) {
    keep(p, s, x, way);
    enter(l, p);
    if (displaced != NULL)
      give_up(l, s, (later_place_t *)displaced, ede);
    if (ask(l, p, x) == SMPL_OK)
      return true;
    release(l, p);
  }
  respond_filled(l->responder, s, x, say_failed, &ede);
  return false;
}

void later_leave(later_t *l, later_owner_t *owner)
{
  for (later_place_t *p; (p = LIST_FIRST(&owner->places, later_place_t, owned)) != NULL;) {
    uint64_t ticket = p->ticket;
    release(l, p);
    if (ticket != 0)
      l->elsewhere->forget(l->elsewhere->ctx, ticket);
  }
}

static later_place_t *first_waiting(later_t *l)
{
  return LIST_FIRST(&l->waiting, later_place_t, link);
}

int later_sweep(later_t *l, const snapshot_t *s)
{
  later_place_t *p = l != NULL ? first_waiting(l) : NULL;
  if (p == NULL)
    return -1;
  uint64_t now = clock_mono_ms();
  for (; p != NULL && p->until_ms <= now; p = first_waiting(l))
    give_up(l, s, p, EDE_NO_REACHABLE_AUTHORITY);
  return p == NULL ? -1 : (int)(p->until_ms - now);
}

void later_end(later_t *l, const snapshot_t *s)
{
  for (later_place_t *p; l != NULL && (p = first_waiting(l)) != NULL;)
    give_up(l, s, p, EDE_NOT_READY);
}
