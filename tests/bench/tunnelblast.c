/* SPDX-License-Identifier: Apache-2.0 */
/* The two ends of what ./dev bench tunnel measures: a server behind the tunnel, and what drives connections
 * through it. Standard library only; times are of the monotonic clock.
 *
 *   tunnelblast serve PORT                      the server: answers GET, takes what follows a U, gives
 * without end after a D tunnelblast bulk PORT up|down N SECONDS [S] N streams, S of them stalled: "Mbit/s
 * bytes", the stalled ones not counted tunnelblast requests PORT N SECONDS keep|new|end  N connections, each
 * a request after the other: on the same, or on a new one that is closed when the answer is whole, or read to
 * its end: "requests/s p50_us p99_us requests errors" tunnelblast first PORT RUNS CMD...          from the
 * start of CMD to the first byte through PORT: "median_ms cpu_ms" tunnelblast hold PORT N N connections that
 * have had an answer, held until standard input ends */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  CHUNK = 128 << 10,
  EVENTS = 256,
  HEAD_MAX = 512,
  WARM_MS = 300,       /* not counted: windows and buffers find their size */
  FIRST_MS = 20000,    /* that a tunnel may take to open */
  FIRST_STEP_US = 300, /* between attempts to connect to it */
  BODY = 300,
};

static const char GET_KEEP[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
static const char GET_NEW[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
static unsigned char chunk[CHUNK];

static uint64_t now_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void die(const char *what)
{
  perror(what);
  exit(1);
}

static long number(const char *text, long most)
{
  char *end;
  long n = strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || n < 0 || n > most) {
    fprintf(stderr, "tunnelblast: '%s' is no number from 0 to %ld\n", text, most);
    exit(2);
  }
  return n;
}

static struct sockaddr_in loopback(const char *port)
{
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)number(port, 65535)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void no_delay(int fd)
{
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void watch(int epoll, int op, int fd, uint32_t events, void *what)
{
  struct epoll_event e = {.events = events, .data.ptr = what};
  if (epoll_ctl(epoll, op, fd, &e) < 0)
    die("epoll_ctl");
}

/* ---- the server ---- */

typedef struct peer {
  int fd;
  char kind; /* 0 until its first byte */
  size_t used;
  char head[HEAD_MAX + 1];
} peer_t;

static size_t make_reply(char *reply, size_t cap)
{
  int n = snprintf(reply, cap,
                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", BODY);
  memset(reply + n, 'x', BODY);
  return (size_t)n + BODY;
}

/* False when the connection is over. */
static bool answer(peer_t *p, const char *reply, size_t len)
{
  ssize_t n = recv(p->fd, p->head + p->used, HEAD_MAX - p->used, 0);
  if (n <= 0)
    return n < 0 && errno == EAGAIN;
  p->used += (size_t)n;
  p->head[p->used] = '\0';
  char *end = strstr(p->head, "\r\n\r\n");
  if (end == NULL)
    return p->used < HEAD_MAX;
  bool last = strstr(p->head, "Connection: close") != NULL;
  p->used = 0;
  return send(p->fd, reply, len, MSG_NOSIGNAL) == (ssize_t)len && !last;
}

static bool serve_peer(int epoll, peer_t *p, const char *reply, size_t len)
{
  if (p->kind == 0) {
    if (recv(p->fd, &p->kind, 1, MSG_PEEK) != 1)
      return false;
    if (p->kind == 'D')
      watch(epoll, EPOLL_CTL_MOD, p->fd, EPOLLOUT, p);
  }
  if (p->kind == 'G')
    return answer(p, reply, len);
  ssize_t n =
      p->kind == 'D' ? send(p->fd, chunk, sizeof chunk, MSG_NOSIGNAL) : recv(p->fd, chunk, sizeof chunk, 0);
  return n > 0 || (n < 0 && errno == EAGAIN);
}

static void accept_all(int epoll, int listener)
{
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
    peer_t *p = calloc(1, sizeof *p);
    if (p == NULL)
      die("calloc");
    no_delay(fd);
    p->fd = fd;
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, p);
  }
}

static _Noreturn void serve(const char *port)
{
  struct sockaddr_in a = loopback(port);
  char reply[1024];
  size_t len = make_reply(reply, sizeof reply);
  int on = 1, epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 4096) < 0)
    die("listen");
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
  for (;;) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      peer_t *p = events[i].data.ptr;
      if (p == NULL) {
        accept_all(epoll, listener);
      } else if (!serve_peer(epoll, p, reply, len)) {
        close(p->fd);
        free(p);
      }
    }
  }
}

/* ---- the driver ---- */

static int connected(const struct sockaddr_in *a)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0)
    die("socket");
  if (connect(fd, (const struct sockaddr *)a, sizeof *a) < 0) {
    close(fd);
    return -1;
  }
  no_delay(fd);
  return fd;
}

static void set_nonblocking(int fd)
{
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static int bulk(char **argv, int argc)
{
  struct sockaddr_in a = loopback(argv[0]);
  bool up = strcmp(argv[1], "up") == 0;
  long streams = number(argv[2], 4096), seconds = number(argv[3], 3600),
       stalled = argc > 4 ? number(argv[4], streams) : 0;
  int epoll = epoll_create1(0);
  for (long i = 0; i < streams; i++) {
    int fd = connected(&a);
    if (fd < 0 || send(fd, up ? "U" : "D", 1, MSG_NOSIGNAL) != 1)
      die("connect");
    set_nonblocking(fd);
    if (i >= stalled)
      watch(epoll, EPOLL_CTL_ADD, fd, up ? EPOLLOUT : EPOLLIN, (void *)(intptr_t)fd);
  }
  uint64_t start = now_us(), warm = start + WARM_MS * 1000u, end = warm + (uint64_t)seconds * 1000000u,
           total = 0, counted = 0, now;
  while ((now = now_us()) < end) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll, events, EVENTS, 100);
    for (int i = 0; i < n; i++) {
      int fd = (int)(intptr_t)events[i].data.ptr;
      ssize_t m = up ? send(fd, chunk, sizeof chunk, MSG_NOSIGNAL) : recv(fd, chunk, sizeof chunk, 0);
      if (m == 0 || (m < 0 && errno != EAGAIN))
        die("a stream ended");
      total += m > 0 ? (uint64_t)m : 0;
      counted += m > 0 && now >= warm ? (uint64_t)m : 0;
    }
  }
  printf("%.0f %llu\n", (double)counted * 8 / ((double)(now - warm)), (unsigned long long)total);
  return 0;
}

typedef struct caller {
  int fd;
  size_t got;
  uint64_t began;
} caller_t;

typedef struct load {
  struct sockaddr_in to;
  int epoll;
  bool keep, to_the_end;
  size_t reply_len;
  uint32_t *us;
  size_t count, cap;
  unsigned long all, errors; /* answers, those of the warming-up included */
} load_t;

static void call(load_t *l, caller_t *c)
{
  const char *get = l->keep ? GET_KEEP : GET_NEW;
  size_t len = l->keep ? sizeof GET_KEEP - 1 : sizeof GET_NEW - 1;
  for (int tries = 0; c->fd < 0; tries++) {
    c->began = now_us();
    c->fd = connected(&l->to);
    if (c->fd >= 0)
      watch(l->epoll, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
    else if (tries == 1000)
      die("connect");
    else
      l->errors++;
  }
  if (l->keep)
    c->began = now_us();
  c->got = 0;
  if (send(c->fd, get, len, MSG_NOSIGNAL) != (ssize_t)len)
    l->errors++;
}

static void note(load_t *l, uint64_t us)
{
  if (l->count == l->cap) {
    l->cap = l->cap ? l->cap * 2 : 1 << 16;
    l->us = realloc(l->us, l->cap * sizeof *l->us);
    if (l->us == NULL)
      die("realloc");
  }
  l->us[l->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* A connection that serves one request is closed when its answer is whole, as most HTTP clients do, or at its
 * end. */
static void hear(load_t *l, caller_t *c, bool counts)
{
  ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
  c->got += n > 0 ? (size_t)n : 0;
  bool whole = c->got == l->reply_len;
  if (n > 0 && (!whole || l->to_the_end))
    return;
  if (whole && counts)
    note(l, now_us() - c->began);
  l->all += whole;
  l->errors += !whole;
  if (!whole || !l->keep) {
    close(c->fd);
    c->fd = -1;
  }
  call(l, c);
}

static int by_size(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static int requests(char **argv)
{
  char reply[1024];
  load_t l = {.to = loopback(argv[0]),
              .epoll = epoll_create1(0),
              .keep = strcmp(argv[3], "keep") == 0,
              .to_the_end = strcmp(argv[3], "end") == 0};
  l.reply_len = make_reply(reply, sizeof reply);
  long n = number(argv[1], 4096), seconds = number(argv[2], 3600);
  caller_t *callers = calloc((size_t)n, sizeof *callers);
  if (callers == NULL)
    die("calloc");
  for (long i = 0; i < n; i++) {
    callers[i].fd = -1;
    call(&l, &callers[i]);
  }
  uint64_t warm = now_us() + WARM_MS * 1000u, end = warm + (uint64_t)seconds * 1000000u, now;
  while ((now = now_us()) < end) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(l.epoll, events, EVENTS, 100);
    for (int i = 0; i < ready; i++)
      hear(&l, events[i].data.ptr, now >= warm);
  }
  qsort(l.us, l.count, sizeof *l.us, by_size);
  printf("%.0f %u %u %lu %lu\n", (double)l.count * 1e6 / (double)(now - warm),
         l.count ? l.us[l.count / 2] : 0, l.count ? l.us[l.count * 99 / 100] : 0, l.all, l.errors);
  return 0;
}

/* ---- from start to first byte ---- */

static bool first_byte(const struct sockaddr_in *a)
{
  struct timeval patience = {10, 0};
  char byte;
  int fd = connected(a);
  if (fd < 0)
    return false;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  bool there = send(fd, GET_NEW, sizeof GET_NEW - 1, MSG_NOSIGNAL) > 0 && recv(fd, &byte, 1, 0) == 1;
  close(fd);
  return there;
}

static pid_t begin(char **argv)
{
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++)
    dup2(null, fd);
  execvp(argv[0], argv);
  _exit(127);
}

static double ms_of(struct timeval t)
{
  return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

static int first(char **argv)
{
  struct sockaddr_in a = loopback(argv[0]);
  long runs = number(argv[1], 1000);
  uint32_t *us = calloc((size_t)runs, sizeof *us);
  double cpu = 0;
  for (long i = 0; us != NULL && i < runs; i++) {
    uint64_t start = now_us();
    pid_t pid = begin(argv + 2);
    while (!first_byte(&a)) {
      usleep(FIRST_STEP_US);
      if (now_us() - start > FIRST_MS * 1000u) {
        kill(pid, SIGKILL);
        die("no first byte");
      }
    }
    us[i] = (uint32_t)(now_us() - start);
    usleep(20000);
    kill(pid, SIGTERM);
    struct rusage used;
    wait4(pid, NULL, 0, &used);
    cpu += ms_of(used.ru_utime) + ms_of(used.ru_stime);
    usleep(50000); /* the other end's leaving shall not fall into the next run */
  }
  qsort(us, (size_t)runs, sizeof *us, by_size);
  printf("%.1f %.1f\n", us[runs / 2] / 1e3, cpu / (double)runs);
  free(us);
  return 0;
}

static int hold(char **argv)
{
  struct sockaddr_in a = loopback(argv[0]);
  long n = number(argv[1], 100000), held = 0;
  for (; held < n; held++) {
    struct timeval patience = {10, 0};
    int fd = connected(&a);
    if (fd < 0)
      break;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(fd, GET_KEEP, sizeof GET_KEEP - 1, MSG_NOSIGNAL) < 0 || recv(fd, chunk, sizeof chunk, 0) <= 0)
      break;
  }
  printf("%ld\n", held);
  fflush(stdout);
  while (getchar() != EOF)
    ;
  return 0;
}

int main(int argc, char **argv)
{
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "serve") == 0 && argc == 3)
    serve(argv[2]);
  if (strcmp(what, "bulk") == 0 && (argc == 6 || argc == 7))
    return bulk(argv + 2, argc - 2);
  if (strcmp(what, "requests") == 0 && argc == 6)
    return requests(argv + 2);
  if (strcmp(what, "first") == 0 && argc > 4)
    return first(argv + 2);
  if (strcmp(what, "hold") == 0 && argc == 4)
    return hold(argv + 2);
  fprintf(stderr, "usage: tunnelblast serve|bulk|requests|first|hold ...; see its first lines\n");
  return 2;
}
