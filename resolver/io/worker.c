/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/io/worker.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/process/crash.h"
#include "common/base/error.h"
#include "resolver/limits.h"
#include "resolver/zone/rcu.h"
#include "resolver/io/later.h"
#include "resolver/io/sockets.h"
#include "resolver/io/tcp.h"
#include "resolver/io/udp.h"

enum {
  EVENTS = 1024, /* taken of epoll at once: new ones are not far behind a crowd */
  ACCEPT_ROUNDS = 16,
};

enum { WISH_RUN, WISH_DRAIN, WISH_STOP };

/* A dns listener's sockets; epoll's data.ptr points at one of the two descriptors. */
typedef struct pair {
  int udp, tcp;
} pair_t;

struct dns_worker {
  unsigned number;
  worker_shared_t *shared;
  int epoll_fd, wake_fd;
  atomic_uint wish;       /* what the others want of the thread, told by wake_fd */
  _Atomic uint64_t beats; /* times that it noticed */
  uint64_t asked_at;      /* beats when worker_ping asked; its caller's */
  bool asked;
  atomic_bool draining;
  pair_t *pairs;
  size_t count;
  tcp_t *tcp;
  responder_t *responder;
  udp_batch_t *batch;
  const elsewhere_t *elsewhere; /* NULL: none; its descriptor is watched as &elsewhere->fd */
  later_t *later;
  size_t later_max;
  pthread_t thread;
  bool started;
  latency_t latency;
};

static int watch(dns_worker_t *w, int *fd)
{
  struct epoll_event ev = {.events = EPOLLIN, .data.ptr = fd};
  return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, *fd, &ev);
}

static int open_pairs(dns_worker_t *w, diag_t *diag)
{
  w->count = snapshot_listener_count(w->shared->snapshot);
  w->pairs = calloc(w->count, sizeof *w->pairs);
  if (w->pairs == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; i < w->count; i++)
    w->pairs[i] = (pair_t){-1, -1};
  for (size_t i = 0; i < w->count; i++) {
    endpoint_t at = snapshot_listener(w->shared->snapshot, i);
    bool early = snapshot_settings(w->shared->snapshot)->free_bind;
    int err = sockets_open(&at, early, &w->pairs[i].udp, &w->pairs[i].tcp, diag);
    if (err)
      return err;
    if (watch(w, &w->pairs[i].udp) || watch(w, &w->pairs[i].tcp))
      return diag_fail_errno(diag, "epoll_ctl");
  }
  return SMPL_OK;
}

int worker_new(unsigned number, worker_shared_t *shared, const worker_limits_t *limits, dns_worker_t **out,
               diag_t *diag)
{
  *out = NULL;
  dns_worker_t *w = aligned_alloc(_Alignof(dns_worker_t), sizeof *w);
  if (w == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  memset(w, 0, sizeof *w);
  w->number = number;
  w->shared = shared;
  w->later_max = limits->later_max;
  w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  int err;
  if (w->epoll_fd < 0 || w->wake_fd < 0 || watch(w, &w->wake_fd)) {
    err = diag_fail_errno(diag, "worker");
    goto out;
  }
  w->batch = udp_batch_new();
  err = responder_new(number, &shared->secret, &w->responder);
  if (err) {
    diag_fail(diag, err, "worker: %s", smpl_strerror(err));
    goto out;
  }
  w->tcp = tcp_new(w->epoll_fd, w->responder, limits->conns_max, limits->buffers_max);
  err = w->batch == NULL || w->tcp == NULL ? diag_fail(diag, SMPL_ENOMEM, "out of memory")
                                           : open_pairs(w, diag);
out:
  if (err)
    worker_stop(w);
  else
    *out = w;
  return err;
}

/* Read from the vDSO: no system call. */
static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Batches until the socket is empty or has had its turn. Each takes the snapshot anew, so that a swap need
 * not wait. */
static void serve_udp(dns_worker_t *w, size_t listener)
{
  uint64_t begun = now_ns();
  for (unsigned i = 0; i < UDP_ROUNDS_MAX; i++) {
    const snapshot_t *s = rcu_get(&w->shared->snapshot);
    size_t n = udp_serve(w->batch, w->pairs[listener].udp, s, w->responder, listener);
    rcu_quiet(&w->shared->snapshot);
    uint64_t done = now_ns();
    if (n > 0)
      latency_note(&w->latency, done - begun, n);
    begun = done;
    if (n < UDP_BATCH)
      break;
  }
}

static void close_fd(int *fd)
{
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}

/* Connections that wait to be taken were made before the end was known: they are taken. */
static void drain(dns_worker_t *w)
{
  for (size_t i = 0; i < w->count; i++) {
    if (w->pairs[i].tcp < 0)
      continue;
    for (unsigned n = 0; n < ACCEPT_ROUNDS; n++)
      tcp_accept(w->tcp, w->pairs[i].tcp, i);
    close_fd(&w->pairs[i].tcp);
  }
  tcp_drain(w->tcp);
  atomic_store_explicit(&w->draining, true, memory_order_release);
}

/* Somebody wants something. False when the worker is to end. */
static bool wake(dns_worker_t *w)
{
  uint64_t count;
  if (read(w->wake_fd, &count, sizeof count) < 0)
    return true;
  atomic_fetch_add_explicit(&w->beats, 1, memory_order_relaxed);
  switch (atomic_load_explicit(&w->wish, memory_order_acquire)) {
  case WISH_RUN:
    return true;
  case WISH_DRAIN:
    drain(w);
    return true;
  default:
    for (size_t i = 0; i < w->count; i++)
      serve_udp(w, i);
    return false;
  }
}

/* False when the worker is to end. */
static bool serve_event(dns_worker_t *w, const struct epoll_event *ev)
{
  int *fd = ev->data.ptr;
  if (fd == &w->wake_fd)
    return wake(w);
  uintptr_t at = (uintptr_t)fd;
  if (at >= (uintptr_t)w->pairs && at < (uintptr_t)(w->pairs + w->count)) {
    size_t listener = (at - (uintptr_t)w->pairs) / sizeof(pair_t);
    if (fd == &w->pairs[listener].udp)
      serve_udp(w, listener);
    else if (*fd >= 0)
      tcp_accept(w->tcp, *fd, listener);
    return true;
  }
  if (w->elsewhere != NULL && ev->data.ptr == (const void *)&w->elsewhere->fd)
    w->elsewhere->ready(w->elsewhere->ctx, w->later, rcu_get(&w->shared->snapshot));
  else
    tcp_event(w->tcp, ev->data.ptr, ev->events);
  return true;
}

/* Of two waits, -1 being none. */
static int sooner(int a, int b)
{
  return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Each round: datagrams and new connections as they are reported, then some turns of connections. */
static void *run(void *arg)
{
  dns_worker_t *w = arg;
  bool on = true;
  int timeout = -1;
  crash_thread();
  urcu_qsbr_register_thread();
  while (on) {
    struct epoll_event events[EVENTS];
    rcu_away(&w->shared->snapshot);
    int n = epoll_wait(w->epoll_fd, events, EVENTS, timeout);
    rcu_back();
    for (int i = 0; i < n; i++)
      on = serve_event(w, &events[i]) && on;
    size_t left = tcp_serve(w->tcp, rcu_get(&w->shared->snapshot), on ? TCP_TURNS_MAX : tcp_count(w->tcp));
    int wait = later_sweep(w->later, rcu_get(&w->shared->snapshot));
    timeout = sooner(tcp_sweep(w->tcp), wait);
    if (left > 0)
      timeout = 0;
  }
  later_end(w->later, rcu_get(&w->shared->snapshot));
  urcu_qsbr_unregister_thread();
  return NULL;
}

void worker_log(dns_worker_t *w, query_ring_t *ring)
{
  responder_log(w->responder, ring);
}

int worker_elsewhere(dns_worker_t *w, const elsewhere_t *elsewhere, diag_t *diag)
{
  struct epoll_event ev = {.events = EPOLLIN, .data.ptr = (void *)(uintptr_t)&elsewhere->fd};
  int err = later_new(w->responder, elsewhere, w->later_max, &w->later);
  if (err)
    return diag_fail(diag, err, "worker: %s", smpl_strerror(err));
  if (elsewhere->fd >= 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, elsewhere->fd, &ev))
    return diag_fail_errno(diag, "epoll_ctl");
  w->elsewhere = elsewhere;
  responder_elsewhere(w->responder, elsewhere);
  udp_batch_later(w->batch, w->later);
  tcp_later(w->tcp, w->later);
  return SMPL_OK;
}

/* The worker's CPU: the number-th that the process may use, round and round. */
static int choose_cpu(unsigned number, cpu_set_t *out)
{
  cpu_set_t may;
  if (sched_getaffinity(0, sizeof may, &may) < 0 || CPU_COUNT(&may) == 0)
    return SMPL_ESYS;
  unsigned skip = number % (unsigned)CPU_COUNT(&may);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &may) || skip-- > 0)
      continue;
    CPU_ZERO(out);
    CPU_SET(cpu, out);
    return SMPL_OK;
  }
  return SMPL_ESYS;
}

int worker_start(dns_worker_t *w, bool pin, diag_t *diag)
{
  cpu_set_t cpu;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  if (pin && (choose_cpu(w->number, &cpu) || pthread_attr_setaffinity_np(&attr, sizeof cpu, &cpu) != 0)) {
    pthread_attr_destroy(&attr);
    return diag_fail(diag, SMPL_ESYS, "pin: no CPU for worker %u", w->number);
  }

  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int e = pthread_create(&w->thread, &attr, run, w);
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (e != 0)
    return diag_fail(diag, SMPL_ESYS, "cannot start a thread");
  w->started = true;
  return SMPL_OK;
}

static void wake_up(dns_worker_t *w)
{
  uint64_t one = 1;
  ssize_t ignored = write(w->wake_fd, &one, sizeof one); /* cannot fail: the counter is far from full */
  (void)ignored;
}

bool worker_ping(dns_worker_t *w)
{
  uint64_t beats = atomic_load_explicit(&w->beats, memory_order_relaxed);
  bool answered = !w->asked || beats != w->asked_at;
  w->asked = true;
  w->asked_at = beats;
  wake_up(w);
  return answered;
}

bool worker_draining(const dns_worker_t *w)
{
  return atomic_load_explicit(&w->draining, memory_order_acquire);
}

void worker_drain(dns_worker_t *w)
{
  atomic_store_explicit(&w->wish, WISH_DRAIN, memory_order_release);
  wake_up(w);
}

void worker_stop(dns_worker_t *w)
{
  if (w == NULL)
    return;
  if (w->started) {
    atomic_store_explicit(&w->wish, WISH_STOP, memory_order_release);
    wake_up(w);
    pthread_join(w->thread, NULL);
  }
  tcp_free(w->tcp);
  later_free(w->later);
  responder_free(w->responder);
  udp_batch_free(w->batch);
  for (size_t i = 0; w->pairs != NULL && i < w->count; i++) {
    close_fd(&w->pairs[i].udp);
    close_fd(&w->pairs[i].tcp);
  }
  free(w->pairs);
  close_fd(&w->epoll_fd);
  close_fd(&w->wake_fd);
  free(w);
}

void worker_latency_add(const dns_worker_t *w, latency_sum_t *sum)
{
  latency_sum_add(sum, &w->latency);
}

size_t worker_waiting(const dns_worker_t *w)
{
  return later_count(w->later);
}

size_t worker_tcp_count(const dns_worker_t *w)
{
  return tcp_count(w->tcp);
}

snapshot_t *worker_swap(worker_shared_t *shared, snapshot_t *fresh)
{
  snapshot_t *old = shared->snapshot;
  snapshot_follow(fresh, old);
  RCU_RELEASE(&shared->snapshot);
  rcu_assign_pointer(shared->snapshot, fresh);
  urcu_qsbr_synchronize_rcu();
  RCU_ACQUIRE(&shared->snapshot);
  return old;
}
