/* SPDX-License-Identifier: Apache-2.0 */
/* Whether answers to several names take the same time.
 * usage: dnstiming -p PORT -s SOURCE [-n ROUNDS] NAME NAME...
 * Asks 127.0.0.1 for A, one query at a time, the names in random order in each round. Prints a line a name:
 * median in us, and for all but the first the chance that its answer takes longer than the first name's, with
 * the standard error of that chance: one half, give or take that error, where the times are the same
 * (Mann-Whitney). */
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NAMES_MAX = 8, QUERY_MAX = 300, WARM_UP = 200 };

typedef struct sample {
  uint64_t ns;
  size_t which;
} sample_t;

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
  perror(what);
  exit(1);
}

static size_t encode(const char *name, uint8_t *p)
{
  static const uint8_t head[12] = {[5] = 1};
  size_t at = sizeof head;
  memcpy(p, head, sizeof head);
  while (*name != '\0') {
    size_t len = strcspn(name, ".");
    if (len == 0 || len > 63 || at + len > 250)
      break;
    p[at++] = (uint8_t)len;
    memcpy(p + at, name, len);
    at += len;
    name += len + (name[len] == '.');
  }
  const uint8_t tail[5] = {0, 0, 1, 0, 1};
  memcpy(p + at, tail, sizeof tail);
  return at + sizeof tail;
}

static int dial(const char *source, uint16_t port)
{
  struct sockaddr_in from = {.sin_family = AF_INET};
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons(port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timeval patience = {.tv_sec = 1};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || inet_pton(AF_INET, source, &from.sin_addr) != 1 ||
      bind(fd, (struct sockaddr *)&from, sizeof from) < 0 ||
      connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
    die("dnstiming");
  return fd;
}

static uint64_t round_trip(int fd, uint8_t *query, size_t len, uint16_t id)
{
  uint8_t reply[2048];
  memcpy(query, &id, sizeof id);
  uint64_t begun = now_ns();
  if (send(fd, query, len, 0) != (ssize_t)len)
    die("send");
  do {
    if (recv(fd, reply, sizeof reply, 0) < 12)
      die("recv");
  } while (memcmp(reply, &id, sizeof id) != 0);
  return now_ns() - begun;
}

static int by_time(const void *left, const void *right)
{
  const sample_t *a = left;
  const sample_t *b = right;
  return (a->ns > b->ns) - (a->ns < b->ns);
}

/* The chance that one of `which` is longer than one of the first name; equal ones count half. */
static double chance_longer(const sample_t *sorted, size_t count, size_t which, size_t rounds)
{
  double wins = 0;
  size_t shorter = 0;
  for (size_t i = 0; i < count;) {
    size_t end = i;
    size_t firsts = 0;
    size_t others = 0;
    for (; end < count && sorted[end].ns == sorted[i].ns; end++) {
      firsts += sorted[end].which == 0;
      others += sorted[end].which == which;
    }
    wins += (double)others * ((double)shorter + (double)firsts / 2);
    shorter += firsts;
    i = end;
  }
  return wins / (double)rounds / (double)rounds;
}

static double median_us(const sample_t *sorted, size_t count, size_t which, size_t rounds)
{
  size_t seen = 0;
  for (size_t i = 0; i < count; i++) {
    seen += sorted[i].which == which;
    if (seen > rounds / 2)
      return (double)sorted[i].ns / 1e3;
  }
  return 0;
}

int main(int argc, char **argv)
{
  const char *source = "127.0.0.1";
  uint16_t port = 0;
  size_t rounds = 20000;
  int c;
  while ((c = getopt(argc, argv, "p:s:n:")) != -1) {
    if (c == 'p')
      port = (uint16_t)strtoul(optarg, NULL, 10);
    else if (c == 's')
      source = optarg;
    else if (c == 'n')
      rounds = strtoul(optarg, NULL, 10);
    else
      return 2;
  }
  size_t names = (size_t)(argc - optind);
  if (port == 0 || names < 2 || names > NAMES_MAX || rounds < 2)
    return 2;
  static uint8_t queries[NAMES_MAX][QUERY_MAX];
  size_t lens[NAMES_MAX];
  for (size_t i = 0; i < names; i++)
    lens[i] = encode(argv[optind + (int)i], queries[i]);
  sample_t *samples = calloc(names * rounds, sizeof *samples);
  if (samples == NULL)
    die("dnstiming");
  int fd = dial(source, port);
  size_t count = 0;
  srand(7);
  for (size_t round = 0; round < rounds + WARM_UP; round++) {
    size_t order[NAMES_MAX];
    for (size_t i = 0; i < names; i++)
      order[i] = i;
    for (size_t i = names - 1; i > 0; i--) {
      size_t j = (size_t)rand() % (i + 1);
      size_t t = order[i];
      order[i] = order[j];
      order[j] = t;
    }
    for (size_t i = 0; i < names; i++) {
      uint64_t ns = round_trip(fd, queries[order[i]], lens[order[i]], (uint16_t)(round * names + i));
      if (round >= WARM_UP)
        samples[count++] = (sample_t){ns, order[i]};
    }
  }
  qsort(samples, count, sizeof *samples, by_time);
  double error = sqrt((2.0 * (double)rounds + 1) / 12) / (double)rounds;
  for (size_t i = 0; i < names; i++) {
    printf("%-40s %8.2f us", argv[optind + (int)i], median_us(samples, count, i, rounds));
    if (i > 0)
      printf("   longer than the first: %.4f +- %.4f", chance_longer(samples, count, i, rounds), error);
    printf("\n");
  }
  free(samples);
  close(fd);
  return 0;
}
