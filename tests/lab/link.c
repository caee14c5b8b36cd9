/* SPDX-License-Identifier: Apache-2.0 */
/* A link of two ends with a rule: how long a frame is on its way, which share is lost, which direction is
 * cut.
 *
 *   smpl-lab-link NETNS-A NAME-A NETNS-B NAME-B SOCKET [SEED]
 *
 * makes a TAP interface in each network namespace (paths as in /run/netns) and carries frames between them.
 * One line on the Unix socket changes the rule: "delay MS", "loss PERMILLE", "cut none|ab|ba|both"; each is
 * answered with "ok" or with what is wrong. The kernel this is for has no netem. Losses follow from the seed
 * and the order of frames alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
  FRAME_CAP = 2048, /* bytes of a frame; the interfaces have an MTU of 1500 */
  QUEUE_CAP = 8192, /* frames under way in one direction; more are lost, as in any router */
  BATCH = 64,       /* frames taken from an end before the other one's turn */
  MAX_DELAY_MS = 10000,
  MAX_LOSS = 1000
};

typedef struct frame {
  uint64_t due_us;
  uint32_t len;
  uint8_t bytes[FRAME_CAP];
} frame_t;

typedef struct direction {
  int from, to;
  bool cut;
  size_t head, count;
  frame_t *queue;
} direction_t;

typedef struct rule {
  uint64_t delay_us;
  uint32_t loss;   /* of 1000 */
  uint64_t random; /* xorshift64 */
} rule_t;

static uint64_t now_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int die(const char *what)
{
  fprintf(stderr, "smpl-lab-link: %s: %s\n", what, strerror(errno));
  return 1;
}

/* A TAP interface in the namespace; the descriptor works from any. -1 with errno. */
static int open_tap(const char *netns, const char *name)
{
  int ns = open(netns, O_RDONLY | O_CLOEXEC);
  if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
    return -1;
  close(ns);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  if (fd < 0 || strlen(name) >= sizeof ifr.ifr_name)
    return -1;
  memcpy(ifr.ifr_name, name, strlen(name) + 1);
  return ioctl(fd, TUNSETIFF, &ifr) < 0 ? -1 : fd;
}

static int open_socket(const char *path)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || strlen(path) >= sizeof at.sun_path)
    return -1;
  memcpy(at.sun_path, path, strlen(path) + 1);
  unlink(path);
  return bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 8) < 0 ? -1 : fd;
}

static bool lost(rule_t *rule)
{
  rule->random ^= rule->random << 13;
  rule->random ^= rule->random >> 7;
  rule->random ^= rule->random << 17;
  return rule->random % 1000 < rule->loss;
}

/* Takes what an end has sent. */
static void take(direction_t *d, rule_t *rule)
{
  for (int i = 0; i < BATCH; i++) {
    uint8_t spare[FRAME_CAP];
    bool full = d->count == QUEUE_CAP;
    frame_t *f = &d->queue[(d->head + d->count) % QUEUE_CAP];
    ssize_t n = read(d->from, full ? spare : f->bytes, FRAME_CAP);
    if (n <= 0)
      return;
    if (full || d->cut || lost(rule))
      continue;
    f->len = (uint32_t)n;
    f->due_us = now_us() + rule->delay_us;
    d->count++;
  }
}

/* Delivers what is due; returns when the next frame is, 0 for none. */
static uint64_t deliver(direction_t *d)
{
  while (d->count > 0) {
    frame_t *f = &d->queue[d->head];
    if (f->due_us > now_us())
      return f->due_us;
    if (!d->cut && write(d->to, f->bytes, f->len) < 0 && errno != EIO && errno != EINVAL)
      perror("smpl-lab-link: write");
    d->head = (d->head + 1) % QUEUE_CAP;
    d->count--;
  }
  return 0;
}

static bool number(const char *text, unsigned long max, unsigned long *out)
{
  char *end = NULL;
  errno = 0;
  *out = strtoul(text, &end, 10);
  return errno == 0 && end != text && *end == '\0' && *out <= max;
}

static const char *obey(const char *word, const char *value, direction_t d[2], rule_t *rule)
{
  unsigned long n = 0;
  if (strcmp(word, "delay") == 0 && number(value, MAX_DELAY_MS, &n))
    rule->delay_us = n * 1000;
  else if (strcmp(word, "loss") == 0 && number(value, MAX_LOSS, &n))
    rule->loss = (uint32_t)n;
  else if (strcmp(word, "cut") == 0 && (strcmp(value, "none") == 0 || strcmp(value, "ab") == 0 ||
                                        strcmp(value, "ba") == 0 || strcmp(value, "both") == 0)) {
    d[0].cut = strcmp(value, "ab") == 0 || strcmp(value, "both") == 0;
    d[1].cut = strcmp(value, "ba") == 0 || strcmp(value, "both") == 0;
  } else
    return "expected: delay MS, loss PERMILLE or cut none|ab|ba|both\n";
  return "ok\n";
}

static void serve(int listener, direction_t d[2], rule_t *rule)
{
  char line[64], word[16] = "", value[16] = "";
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0)
    return;
  ssize_t n = read(fd, line, sizeof line - 1);
  if (n > 0) {
    line[n] = '\0';
    const char *reply = sscanf(line, "%15s %15s", word, value) >= 1 ? obey(word, value, d, rule) : "empty\n";
    if (write(fd, reply, strlen(reply)) < 0)
      perror("smpl-lab-link: answer");
  }
  close(fd);
}

static int wait_ms(uint64_t a, uint64_t b)
{
  uint64_t first = a == 0 ? b : b == 0 || a < b ? a : b, now = now_us();
  if (first == 0)
    return 1000;
  return first <= now ? 0 : (int)((first - now) / 1000) + 1;
}

int main(int argc, char **argv)
{
  unsigned long seed = 1;
  if (argc < 6 || argc > 7 || (argc == 7 && (!number(argv[6], UINT32_MAX, &seed) || seed == 0))) {
    fprintf(stderr, "usage: smpl-lab-link NETNS-A NAME-A NETNS-B NAME-B SOCKET [SEED]\n");
    return 2;
  }
  int listener = open_socket(argv[5]);
  if (listener < 0)
    return die(argv[5]);
  int a = open_tap(argv[1], argv[2]);
  if (a < 0)
    return die(argv[2]);
  int b = open_tap(argv[3], argv[4]);
  if (b < 0)
    return die(argv[4]);
  rule_t rule = {.random = seed * 0x9e3779b97f4a7c15u};
  direction_t d[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
  for (int i = 0; i < 2; i++)
    if ((d[i].queue = calloc(QUEUE_CAP, sizeof(frame_t))) == NULL)
      return die("memory");
  printf("smpl-lab-link: ready\n");
  fflush(stdout);
  for (;;) {
    struct pollfd p[3] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {listener, POLLIN, 0}};
    if (poll(p, 3, wait_ms(deliver(&d[0]), deliver(&d[1]))) < 0 && errno != EINTR)
      return die("poll");
    for (int i = 0; i < 2; i++)
      if (p[i].revents & POLLIN)
        take(&d[i], &rule);
    if (p[2].revents & POLLIN)
      serve(listener, d, &rule);
  }
}
