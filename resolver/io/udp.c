/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/io/udp.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "resolver/limits.h"
#include "resolver/answer/respond.h"

enum {
  /* Odd numbers of cache lines, so that the buffers' beginnings do not fall on one another in the cache. */
  RX_SIZE = UDP_QUERY_MAX + 64,
  TX_SIZE = 1344,
  CONTROL_SIZE = 64, /* an in_pktinfo or in6_pktinfo with its header */
};
_Static_assert((int)TX_SIZE >= (int)UDP_REPLY_MAX, "an answer fits its buffer");
_Static_assert(CONTROL_SIZE >= CMSG_SPACE(sizeof(struct in6_pktinfo)), "the address asked fits its buffer");

struct udp_batch {
  later_t *later; /* NULL: nothing waits */
  struct mmsghdr rx[UDP_BATCH];
  struct mmsghdr tx[UDP_BATCH];
  struct iovec rx_iov[UDP_BATCH];
  struct iovec tx_iov[UDP_BATCH];
  struct sockaddr_in6 names[UDP_BATCH]; /* fits sockaddr_in too */
  bool known[UDP_BATCH];                /* names[i] is an address that peers[i] and chosen[i] are of */
  ip_t peers[UDP_BATCH];
  snapshot_view_t chosen[UDP_BATCH];
  _Alignas(struct cmsghdr) uint8_t control[UDP_BATCH][CONTROL_SIZE];
  uint8_t rx_data[UDP_BATCH][RX_SIZE];
  uint8_t tx_data[UDP_BATCH][TX_SIZE];
};

udp_batch_t *udp_batch_new(void)
{
  udp_batch_t *b = aligned_alloc(64, (sizeof *b + 63) & ~(size_t)63);
  if (b == NULL)
    return NULL;
  memset(b, 0, sizeof *b);
  for (size_t i = 0; i < UDP_BATCH; i++) {
    b->rx_iov[i] = (struct iovec){b->rx_data[i], UDP_QUERY_MAX};
    b->rx[i].msg_hdr = (struct msghdr){.msg_name = &b->names[i],
                                       .msg_namelen = sizeof b->names[i],
                                       .msg_iov = &b->rx_iov[i],
                                       .msg_iovlen = 1,
                                       .msg_control = b->control[i],
                                       .msg_controllen = CONTROL_SIZE};
    b->tx[i].msg_hdr = (struct msghdr){.msg_iov = &b->tx_iov[i], .msg_iovlen = 1};
  }
  return b;
}

void udp_batch_later(udp_batch_t *batch, later_t *later)
{
  batch->later = later;
}

void udp_batch_free(udp_batch_t *batch)
{
  free(batch);
}

/* What recvmmsg told of the address asked says with sendmmsg where to answer from; the interface is the
 * routing table's to choose, link-local addresses aside. */
static void answer_from(struct msghdr *h)
{
  for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      info.ipi_ifindex = 0;
      memcpy(CMSG_DATA(c), &info, sizeof info);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
        info.ipi6_ifindex = 0;
      memcpy(CMSG_DATA(c), &info, sizeof info);
    }
  }
}

/* Of the first n datagrams: where they come from and which view that means. */
static void choose_views(udp_batch_t *b, size_t n, const snapshot_t *s, const responder_t *responder,
                         size_t listener)
{
  for (size_t i = 0; i < n; i++) {
    endpoint_t peer = {.port = 0};
    b->known[i] = endpoint_from_sockaddr((const struct sockaddr *)&b->names[i], &peer) == 0;
    b->peers[i] = peer.ip;
  }
  snapshot_choose(s, listener, b->peers, n, b->chosen);
  for (size_t i = 0; i < n; i++)
    __builtin_prefetch(snapshot_stats(s, responder_worker(responder), b->chosen[i].number), 1);
}

/* What is to be sent of this datagram: the answer's length, in tx_data[tx]; 0: nothing now. */
static size_t respond_one(udp_batch_t *b, size_t i, size_t tx, int fd, const snapshot_t *s,
                          responder_t *responder, size_t listener)
{
  struct msghdr *h = &b->rx[i].msg_hdr;
  if (!b->known[i])
    return 0;
  exchange_t x = {.transport = EXCHANGE_UDP,
                  .listener = listener,
                  .peer = &b->peers[i],
                  .chosen = b->chosen[i],
                  .msg = b->rx_data[i],
                  .len = b->rx[i].msg_len,
                  .out = b->tx_data[tx],
                  .cap = UDP_REPLY_MAX};
  /* A datagram longer than UDP_QUERY_MAX came cut: its length is no message's, so it is answered as
   * malformed. */
  if ((h->msg_flags & MSG_TRUNC) && x.len > DNS_HEADER_LEN)
    x.len = DNS_HEADER_LEN;
  exchange_verdict_t verdict = respond(responder, s, &x);
  if (verdict == EXCHANGE_LATER) {
    answer_from(h);
    if (later_take(b->later, s, &x, &(later_way_t){.from = h, .fd = fd}))
      return 0;
  }
  return verdict == EXCHANGE_DROP ? 0 : x.out_len;
}

/* Answers that the kernel has no room for are lost, as datagrams may be; waiting would hold up everybody. */
static void send_all(udp_batch_t *b, int fd, size_t count)
{
  size_t sent = 0;
  while (sent < count) {
    int n = sendmmsg(fd, b->tx + sent, (unsigned)(count - sent), MSG_DONTWAIT);
    sent += n > 0 ? (size_t)n : 1; /* the first could not be sent: go on behind it */
  }
}

size_t udp_serve(udp_batch_t *batch, int fd, const snapshot_t *snapshot, responder_t *responder,
                 size_t listener)
{
  udp_batch_t *b = batch;
  int n = recvmmsg(fd, b->rx, UDP_BATCH, MSG_DONTWAIT, NULL);
  if (n <= 0)
    return 0;
  choose_views(b, (size_t)n, snapshot, responder, listener);
  size_t replies = 0;
  for (size_t i = 0; i < (size_t)n; i++) {
    struct msghdr *h = &b->rx[i].msg_hdr;
    size_t len = respond_one(b, i, replies, fd, snapshot, responder, listener);
    if (len > 0) {
      struct msghdr *t = &b->tx[replies].msg_hdr;
      b->tx_iov[replies] = (struct iovec){b->tx_data[replies], len};
      t->msg_name = &b->names[i];
      t->msg_namelen = h->msg_namelen;
      t->msg_control = NULL;
      t->msg_controllen = h->msg_controllen;
      if (h->msg_controllen > 0) {
        answer_from(h);
        t->msg_control = b->control[i];
      }
      replies++;
    }
  }
  send_all(b, fd, replies);
  /* Only what this batch used is set back for the next. */
  for (size_t i = 0; i < (size_t)n; i++) {
    b->rx[i].msg_hdr.msg_namelen = sizeof b->names[i];
    b->rx[i].msg_hdr.msg_controllen = CONTROL_SIZE;
    b->rx[i].msg_hdr.msg_flags = 0;
  }
  return (size_t)n;
}
