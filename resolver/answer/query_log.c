/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/query_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "resolver/limits.h"
#include "resolver/zone/name_hash.h"
#include "resolver/answer/probe.h"
#include "resolver/view/stats.h"

enum {
  NETWORKS = 1024, /* buckets in which networks are counted */
  VIEW_MAX = 64,   /* bytes of a view's name that are kept, with NUL */
  V4_AT = 12,
  V4_NET = 3,           /* bytes: /24 */
  V6_NET = 6,           /* /48 */
  BUFFER = 64 << 10,    /* gathered for one write */
  LINE_BYTES_MAX = 4096 /* the longest name, escaped twice, and all the rest */
};

typedef struct entry {
  uint64_t wall_ms;
  ip_t peer;
  uint32_t size;
  uint16_t listener, type, rcode;
  bool tcp, truncated, has_view, has_question;
  char view[VIEW_MAX];
  dns_name_t name;
} entry_t;

/* How many entries of each network (IPv4 /24, IPv6 /48) wait, by a hash of it. The worker's own. */
typedef struct waiting {
  uint64_t seed;
  uint64_t settled; /* entries taken off again: all that were read, as far as the worker knows */
  uint16_t bucket[QUERY_LOG_RING]; /* of each entry */
  uint16_t count[NETWORKS];
} waiting_t;

/* One writer (the worker), one reader (the main thread). */
struct query_ring {
  _Alignas(64) _Atomic uint64_t head; /* entries written */
  _Atomic uint64_t dropped;
  uint64_t sample, until; /* every sample-th; how many go by before the next */
  waiting_t waiting;
  _Alignas(64) _Atomic uint64_t tail; /* entries read */
  entry_t entries[QUERY_LOG_RING];
};

struct query_log {
  int fd;
  unsigned workers;
  query_ring_t *rings;
  char (*listeners)[ENDPOINT_TEXT_MAX];
  uint64_t written, unwritten;
  uint64_t pending; /* lines in the buffer */
  bool failing;
  size_t used;
  char buffer[BUFFER];
};

static int open_file(const settings_t *settings, int *out, diag_t *diag)
{
  const query_log_conf_t *c = &settings->query_log;
  struct stat st;
  /* O_NONBLOCK: a pipe without a reader must not hold up the start before it is refused */
  *out = open(c->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0640);
  if (*out < 0)
    return conf_fail(settings->conf, diag, &c->file, "query_log: %s: %s", c->file, strerror(errno));
  if (fstat(*out, &st) == 0 && S_ISREG(st.st_mode))
    return SMPL_OK;
  close(*out);
  *out = -1;
  return conf_fail(settings->conf, diag, &c->file, "query_log: %s is not a regular file", c->file);
}

int query_log_open(const settings_t *settings, unsigned workers, const endpoint_t *listeners, size_t count,
                   query_log_t **out, diag_t *diag)
{
  *out = NULL;
  query_log_t *log = calloc(1, sizeof *log);
  if (log == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  log->workers = workers;
  log->fd = -1;
  size_t size = workers * sizeof(query_ring_t);
  log->rings = aligned_alloc(_Alignof(query_ring_t), size);
  log->listeners = calloc(count + 1, sizeof *log->listeners);
  int err =
      log->rings == NULL || log->listeners == NULL ? diag_fail(diag, SMPL_ENOMEM, "out of memory") : SMPL_OK;
  if (!err) {
    memset(log->rings, 0, size); /* also takes the memory now, not in the middle of a query */
    for (unsigned i = 0; i < workers; i++) {
      log->rings[i].sample = settings->query_log.sample;
      if (getrandom(&log->rings[i].waiting.seed, sizeof log->rings[i].waiting.seed, 0) < 0)
        err = diag_fail_errno(diag, "query_log: random numbers");
    }
    for (size_t i = 0; i < count; i++)
      endpoint_format(&listeners[i], log->listeners[i]);
    if (!err)
      err = open_file(settings, &log->fd, diag);
  }
  if (err)
    query_log_free(log);
  else
    *out = log;
  return err;
}

void query_log_free(query_log_t *log)
{
  if (log == NULL)
    return;
  if (log->fd >= 0)
    close(log->fd);
  free(log->rings);
  free(log->listeners);
  free(log);
}

query_ring_t *query_log_ring(query_log_t *log, unsigned worker)
{
  return &log->rings[worker];
}

/* ---- the worker's side ---- */

/* At most VIEW_MAX - 1 bytes, whole characters. */
static void copy_view(char *out, const char *name)
{
  size_t n = strnlen(name, VIEW_MAX);
  if (n >= VIEW_MAX) {
    n = VIEW_MAX - 1;
    while (n > 0 && ((uint8_t)name[n] & 0xc0) == 0x80)
      n--;
  }
  memcpy(out, name, n);
  out[n] = '\0';
}

static unsigned bucket_of(const waiting_t *w, const ip_t *peer)
{
  uint64_t net = 0;
  bool v4 = ip_is_v4(peer);
  memcpy(&net, peer->b + (v4 ? V4_AT : 0), v4 ? V4_NET : V6_NET);
  return (unsigned)(name_hash_mix(net ^ w->seed ^ v4, w->seed | 1) % NETWORKS);
}

/* Whether the ring, with entries from tail to head, has room for one of that network. Whoever asks much fills
 * half of it and no more, and what is known of the others stays in the log. */
static bool has_room(waiting_t *w, uint64_t tail, uint64_t head, unsigned bucket)
{
  for (; w->settled < tail; w->settled++)
    w->count[w->bucket[w->settled % QUERY_LOG_RING]]--;
  return head - tail < QUERY_LOG_RING / 2 ||
         (head - tail < QUERY_LOG_RING && w->count[bucket] < QUERY_LOG_SHARE);
}

void query_ring_note(query_ring_t *ring, const query_event_t *e)
{
  if (ring->until > 0) {
    ring->until--;
    return;
  }
  ring->until = ring->sample - 1;
  uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
  unsigned bucket = bucket_of(&ring->waiting, e->peer);
  if (!has_room(&ring->waiting, atomic_load_explicit(&ring->tail, memory_order_acquire), head, bucket)) {
    uint64_t dropped = atomic_load_explicit(&ring->dropped, memory_order_relaxed);
    atomic_store_explicit(&ring->dropped, dropped + 1, memory_order_relaxed);
    return;
  }
  entry_t *at = &ring->entries[head % QUERY_LOG_RING];
  at->wall_ms = clock_wall_ms();
  at->peer = *e->peer;
  at->size = (uint32_t)e->size;
  at->listener = (uint16_t)e->listener;
  at->rcode = e->rcode;
  at->tcp = e->transport == EXCHANGE_TCP;
  at->truncated = e->truncated;
  at->has_view = e->view != NULL;
  if (e->view != NULL)
    copy_view(at->view, e->view);
  uint16_t klass;
  dns_wire_t w = dns_wire_of(e->msg, e->len);
  at->has_question =
      dns_wire_skip(&w, DNS_HEADER_LEN) == 0 && dns_wire_question(&w, &at->name, &at->type, &klass) == 0;
  ring->waiting.bucket[head % QUERY_LOG_RING] = (uint16_t)bucket;
  ring->waiting.count[bucket]++;
  atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

/* ---- the main thread's side ---- */

static void write_buffer(query_log_t *log)
{
  size_t done = 0;
  while (done < log->used) {
    ssize_t n = write(log->fd, log->buffer + done, log->used - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      break;
    done += (size_t)n;
  }
  bool failed = done < log->used;
  if (failed && !log->failing)
    log_error("query_log: %s: lines are dropped", strerror(errno));
  log->failing = failed;
  *(failed ? &log->unwritten : &log->written) += log->pending;
  log->used = 0;
  log->pending = 0;
}

/* As a JSON string; returns the end. */
static char *put_string(char *to, const char *text)
{
  *to++ = '"';
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    if (c < 0x20) {
      to += snprintf(to, 7, "\\u%04x", c);
      continue;
    }
    if (c == '"' || c == '\\')
      *to++ = '\\';
    *to++ = *text;
  }
  *to++ = '"';
  return to;
}

static char *put_key(char *to, const char *key)
{
  size_t n = strlen(key);
  memcpy(to, key, n); /* NOLINT(bugprone-not-null-terminated-result): of a line that goes on */
  return to + n;
}

static void put_line(query_log_t *log, const entry_t *e)
{
  char text[DNS_NAME_TEXT_MAX];
  char type[PROBE_TYPE_MAX];
  if (BUFFER - log->used < LINE_BYTES_MAX)
    write_buffer(log);
  char *to = log->buffer + log->used;
  to = put_string(put_key(to, "{\"time\":"), clock_format_iso(text, e->wall_ms));
  to = put_string(put_key(to, ",\"listener\":"), log->listeners[e->listener]);
  to = put_string(put_key(to, ",\"client\":"), ip_format(&e->peer, text));
  to = put_string(put_key(to, ",\"transport\":"), e->tcp ? "tcp" : "udp");
  to = put_key(to, ",\"view\":");
  to = e->has_view ? put_string(to, e->view) : put_key(to, "null");
  to = put_key(to, ",\"name\":");
  to = e->has_question ? put_string(to, dns_name_to_text(&e->name, text)) : put_key(to, "null");
  to = put_key(to, ",\"type\":");
  to = e->has_question ? put_string(to, probe_type_text(e->type, type)) : put_key(to, "null");
  to = put_string(put_key(to, ",\"rcode\":"), stats_rcode_name(e->rcode));
  to = put_key(to, e->truncated ? ",\"truncated\":true" : ",\"truncated\":false");
  to += snprintf(to, 32, ",\"bytes\":%u}\n", (unsigned)e->size);
  log->used = (size_t)(to - log->buffer);
  log->pending++;
}

void query_log_drain(query_log_t *log)
{
  for (unsigned i = 0; i < log->workers; i++) {
    query_ring_t *r = &log->rings[i];
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    for (; tail < head; tail++) {
      put_line(log, &r->entries[tail % QUERY_LOG_RING]);
      atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    }
  }
  if (log->used > 0)
    write_buffer(log);
}

uint64_t query_log_written(const query_log_t *log)
{
  return log->written;
}

uint64_t query_log_dropped(const query_log_t *log)
{
  uint64_t sum = log->unwritten;
  for (unsigned i = 0; i < log->workers; i++)
    sum += atomic_load_explicit(&log->rings[i].dropped, memory_order_relaxed);
  return sum;
}
