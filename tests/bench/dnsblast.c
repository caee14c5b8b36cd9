/* SPDX-License-Identifier: Apache-2.0 */
/* A cheap generator of DNS load, one thread, cheaper a query than the servers it measures.
 * usage: dnsblast -p PORT -d FILE [-l SECONDS] [-q WINDOW] [-b BATCH] [-t CONNECTIONS] [-S NETWORKS] [-w]
 *   FILE has "name TYPE" a line (A, SRV). -q: queries under way, per connection with -t. -t: over TCP,
 * pipelined. -S: over UDP, each query from another of so many networks, 127.64.0.0/24 and up. -w: asks the
 * first line every millisecond until it is answered, prints how long that took. Asks 127.0.0.1, with EDNS.
 * Prints: answered lost qps noerror nxdomain other avg_us */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  BATCH_MAX = 256,
  WINDOW_MAX = 4096,
  CONNS_MAX = 64,
  NETWORKS_MAX = 1 << 14,
  QUERY_MAX = 300,
  REPLY_MAX = 2048,
  STREAM = 1 << 17
};

typedef struct query {
  uint32_t at; /* in bytes */
  uint16_t len;
} query_t;

static query_t *queries;
static size_t query_count, query_next;
static uint8_t *bytes;
static struct {
  uint64_t answered, lost, noerror, nxdomain, other;
  double latency;
} total;

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
  perror(what);
  exit(1);
}

static void *grow(void *p, size_t size)
{
  p = realloc(p, size);
  if (p == NULL)
    die("dnsblast");
  return p;
}

/* Header, question, OPT at p, which has QUERY_MAX bytes. Returns the length. */
static size_t encode(const char *name, const char *type, uint8_t *p)
{
  static const uint8_t head[12] = {[5] = 1, [11] = 1};
  static const uint8_t opt[11] = {0, 0, 41, 1232 >> 8, 1232 & 255};
  memcpy(p, head, sizeof head);
  size_t at = sizeof head;
  while (*name != '\0') {
    size_t len = strcspn(name, ".");
    if (len == 0 || len > 63 || at + len > 250)
      break;
    p[at++] = (uint8_t)len;
    memcpy(p + at, name, len);
    at += len;
    name += len + (name[len] == '.');
  }
  const uint8_t tail[5] = {0, 0, strcmp(type, "SRV") == 0 ? 33 : 1, 0, 1};
  memcpy(p + at, tail, sizeof tail);
  memcpy(p + at + sizeof tail, opt, sizeof opt);
  return at + sizeof tail + sizeof opt;
}

static void read_queries(const char *path)
{
  FILE *f = fopen(path, "r");
  char name[256];
  char type[16];
  size_t cap = 0;
  size_t used = 0;
  size_t bytes_cap = 0;
  if (f == NULL)
    die(path);
  while (fscanf(f, "%255s %15s", name, type) == 2) {
    if (query_count == cap)
      queries = grow(queries, (cap = cap * 2 + 1024) * sizeof *queries);
    if (used + QUERY_MAX > bytes_cap)
      bytes = grow(bytes, bytes_cap = bytes_cap * 2 + (1 << 20));
    size_t len = encode(name, type, bytes + used);
    queries[query_count++] = (query_t){(uint32_t)used, (uint16_t)len};
    used += len;
  }
  fclose(f);
  if (query_count == 0)
    exit(1);
}

static const query_t *next_query(void)
{
  const query_t *q = &queries[query_next];
  query_next = query_next + 1 == query_count ? 0 : query_next + 1;
  return q;
}

static int dial(int type, uint16_t port)
{
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons(port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int size = 4 << 20;
  int fd = socket(AF_INET, type, 0);
  if (fd < 0 || (type == SOCK_DGRAM && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0) ||
      connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
    die("connect");
  return fd;
}

static void count(const uint8_t *reply)
{
  unsigned rcode = reply[3] & 15;
  total.answered++;
  if (rcode == 0)
    total.noerror++;
  else if (rcode == 3)
    total.nxdomain++;
  else
    total.other++;
}

/* ---- UDP: IDs are the places in the window ---- */

static uint8_t tx[BATCH_MAX][QUERY_MAX], rx[BATCH_MAX][REPLY_MAX];
static struct mmsghdr tx_messages[BATCH_MAX], rx_messages[BATCH_MAX];
static struct iovec tx_parts[BATCH_MAX], rx_parts[BATCH_MAX];
static struct sockaddr_in server;
static union {
  struct cmsghdr head;
  uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
} sources[BATCH_MAX]; /* with -S */
static size_t networks;
static uint16_t free_ids[WINDOW_MAX];
static size_t free_count;
static double sent_at[WINDOW_MAX]; /* 0: not under way */

/* Datagram i comes from the next network; a step that is no divisor of their number goes through all of them.
 */
static void choose_source(size_t i)
{
  static size_t at;
  at = (at + 7919) % networks;
  struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f400009u + (uint32_t)(at << 8))};
  sources[i].head = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IP, IP_PKTINFO};
  memcpy(CMSG_DATA(&sources[i].head), &info, sizeof info);
  struct msghdr *h = &tx_messages[i].msg_hdr;
  h->msg_name = &server;
  h->msg_namelen = sizeof server;
  h->msg_control = &sources[i];
  h->msg_controllen = sizeof sources[i];
}

static void send_batch(int fd, size_t batch, double t)
{
  for (size_t i = 0; i < batch; i++) {
    const query_t *q = next_query();
    uint16_t id = free_ids[--free_count];
    memcpy(tx[i], bytes + q->at, q->len);
    tx[i][0] = (uint8_t)(id >> 8);
    tx[i][1] = (uint8_t)id;
    tx_parts[i] = (struct iovec){tx[i], q->len};
    if (networks > 0)
      choose_source(i);
    sent_at[id] = t;
  }
  for (size_t sent = 0; sent < batch;) {
    int n = sendmmsg(fd, tx_messages + sent, (unsigned)(batch - sent), 0);
    if (n <= 0)
      die("sendmmsg");
    sent += (size_t)n;
  }
}

static int bind_anywhere(uint16_t port)
{
  struct sockaddr_in any = {.sin_family = AF_INET};
  int size = 4 << 20;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  server = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0 ||
      bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
    die("bind");
  return fd;
}

static void drop_lost(size_t window, double t)
{
  for (size_t id = 0; id < window; id++) {
    if (sent_at[id] == 0 || t - sent_at[id] < 0.3)
      continue;
    sent_at[id] = 0;
    free_ids[free_count++] = (uint16_t)id;
    total.lost++;
  }
}

static void receive_batch(int fd, size_t batch, size_t window)
{
  int n = recvmmsg(fd, rx_messages, (unsigned)batch, MSG_WAITFORONE, NULL);
  double t = now();
  if (n <= 0)
    drop_lost(window, t);
  for (int i = 0; i < n; i++) {
    size_t id = (size_t)rx[i][0] << 8 | rx[i][1];
    if (rx_messages[i].msg_len < 12 || id >= window || sent_at[id] == 0)
      continue;
    total.latency += t - sent_at[id];
    sent_at[id] = 0;
    free_ids[free_count++] = (uint16_t)id;
    count(rx[i]);
  }
}

static void blast_udp(uint16_t port, double seconds, size_t window, size_t batch)
{
  int fd = networks > 0 ? bind_anywhere(port) : dial(SOCK_DGRAM, port);
  struct timeval patience = {.tv_usec = 50000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  for (size_t i = 0; i < BATCH_MAX; i++) {
    tx_messages[i].msg_hdr = (struct msghdr){.msg_iov = &tx_parts[i], .msg_iovlen = 1};
    rx_parts[i] = (struct iovec){rx[i], REPLY_MAX};
    rx_messages[i].msg_hdr = (struct msghdr){.msg_iov = &rx_parts[i], .msg_iovlen = 1};
  }
  for (size_t i = 0; i < window; i++)
    free_ids[free_count++] = (uint16_t)i;
  double end = now() + seconds;
  for (double t = now(); t < end || (free_count < window && t < end + 0.5); t = now()) {
    while (t < end && free_count >= batch)
      send_batch(fd, batch, t);
    receive_batch(fd, batch * 2 > BATCH_MAX ? BATCH_MAX : batch * 2, window);
  }
  close(fd);
}

/* ---- TCP: each connection keeps its window full ---- */

typedef struct conn {
  size_t under_way, len;
  uint8_t in[STREAM];
} conn_t;

static void fill_window(int fd, conn_t *c, size_t window)
{
  static uint8_t out[STREAM];
  size_t len = 0;
  for (; c->under_way < window && len + QUERY_MAX + 2 < STREAM; c->under_way++) {
    const query_t *q = next_query();
    out[len] = (uint8_t)(q->len >> 8);
    out[len + 1] = (uint8_t)q->len;
    memcpy(out + len + 2, bytes + q->at, q->len);
    len += 2u + q->len;
  }
  if (send(fd, out, len, 0) != (ssize_t)len)
    die("send");
}

static void take_answers(int fd, conn_t *c)
{
  ssize_t n = recv(fd, c->in + c->len, STREAM - c->len, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN)
    return;
  if (n <= 0)
    die("the server ended the connection");
  c->len += (size_t)n;
  size_t at = 0;
  while (c->len - at >= 2) {
    size_t size = (size_t)c->in[at] << 8 | c->in[at + 1];
    if (size < 12 || c->len - at - 2 < size)
      break;
    count(c->in + at + 2);
    at += 2 + size;
    c->under_way--;
  }
  memmove(c->in, c->in + at, c->len - at);
  c->len -= at;
}

static void blast_tcp(uint16_t port, double seconds, size_t window, size_t conns)
{
  static conn_t state[CONNS_MAX];
  struct pollfd polls[CONNS_MAX];
  int one = 1;
  for (size_t i = 0; i < conns; i++) {
    polls[i] = (struct pollfd){.fd = dial(SOCK_STREAM, port), .events = POLLIN};
    setsockopt(polls[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  double end = now() + seconds;
  while (now() < end) {
    for (size_t i = 0; i < conns; i++)
      if (state[i].under_way <= window / 2)
        fill_window(polls[i].fd, &state[i], window);
    poll(polls, conns, 1000);
    for (size_t i = 0; i < conns; i++)
      if (polls[i].revents != 0)
        take_answers(polls[i].fd, &state[i]);
  }
}

/* --- */

static void wait_for_answer(uint16_t port)
{
  double start = now();
  uint8_t reply[REPLY_MAX];
  int fd = dial(SOCK_DGRAM, port);
  struct timeval patience = {.tv_usec = 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (now() - start < 60) {
    const struct timespec pause = {.tv_nsec = 1000000};
    send(fd, bytes + queries[0].at, queries[0].len, 0);
    ssize_t n = recv(fd, reply, sizeof reply, 0);
    if (n >= 12 && (reply[3] & 15) == 0 && reply[7] > 0) {
      printf("%.1f\n", (now() - start) * 1e3);
      exit(0);
    }
    if (n < 0 && errno == ECONNREFUSED)
      nanosleep(&pause, NULL);
  }
  exit(1);
}

int main(int argc, char **argv)
{
  size_t window = 192;
  size_t batch = 32;
  size_t conns = 0;
  double seconds = 3;
  uint16_t port = 0;
  const char *file = NULL;
  bool wait = false;
  int c;
  while ((c = getopt(argc, argv, "p:d:l:q:b:t:S:w")) != -1) {
    switch (c) {
    case 'p':
      port = (uint16_t)strtoul(optarg, NULL, 10);
      break;
    case 'd':
      file = optarg;
      break;
    case 'l':
      seconds = strtod(optarg, NULL);
      break;
    case 'q':
      window = strtoul(optarg, NULL, 10);
      break;
    case 'b':
      batch = strtoul(optarg, NULL, 10);
      break;
    case 't':
      conns = strtoul(optarg, NULL, 10);
      break;
    case 'S':
      networks = strtoul(optarg, NULL, 10);
      break;
    case 'w':
      wait = true;
      break;
    default:
      return 2;
    }
  }
  if (file == NULL || window < 1 || window > WINDOW_MAX || batch < 1 || batch > BATCH_MAX ||
      conns > CONNS_MAX || networks > NETWORKS_MAX)
    return 2;
  read_queries(file);
  if (wait)
    wait_for_answer(port);
  double start = now();
  if (conns > 0)
    blast_tcp(port, seconds, window, conns);
  else
    blast_udp(port, seconds, window, batch);
  double took = now() - start;
  printf("%lu %lu %.0f %lu %lu %lu %.1f\n", total.answered, total.lost, (double)total.answered / took,
         total.noerror, total.nxdomain, total.other,
         total.answered > 0 ? total.latency / (double)total.answered * 1e6 : 0);
  return 0;
}
