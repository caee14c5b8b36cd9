/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/lookup.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/clock.h"
#include "common/dns/dns_channel.h"
#include "common/dns/dns_servers.h"
#include "common/base/error.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/dns/lookup_answer.h"
#include "common/base/share.h"

typedef struct server {
  dns_channel_t *channel;
  endpoint_t at;
  bool lost;        /* it was said that it does not answer */
  uint64_t lost_at; /* monotonic ms, when that was said last; 0: never */
  size_t late;      /* questions under way to it whose answers nobody waits for any more */
} server_t;

struct lookup {
  uv_idle_t deliver; /* runs callbacks on the next turn of the loop */
  uv_timer_t tick;   /* while queries are under way */
  server_t servers[LOOKUP_SERVERS_MAX];
  dns_servers_t past; /* what they did */
  uint64_t timeout_ms;
  list_t queries; /* not yet freed; the newest first */
  size_t pending;
  list_t attempts;  /* every question that a server has */
  unsigned handles; /* uv handles that keep this memory alive */
  size_t holders;   /* beside whoever made it */
  bool freeing;
};

/* One question, put to one server or more until the first good answer: a query for addresses has two. */
typedef struct part {
  lookup_query_t *query;
  lookup_question_t question;
  struct attempt *running[LOOKUP_SERVERS_MAX]; /* by server */
  unsigned running_count;
  unsigned asked;   /* a bit for each server that has been asked, or was in this round */
  bool timed_out;   /* one of them was silent, so another round may help */
  uint64_t next_at; /* when the next server is asked, whatever becomes of those before */
  bool done;
  int err; /* until it is done: the most telling of those that servers earned */
} part_t;

/* A question that a server has. */
typedef struct attempt {
  lookup_t *lookup;
  list_t link;
  part_t *part; /* NULL: nobody waits, but the answer still tells something about the server */
  size_t server;
  uint64_t at; /* monotonic ms */
  bool tcp;
} attempt_t;

struct lookup_query {
  lookup_t *lookup;
  list_t link;
  char owner[LOOKUP_OWNER_MAX]; /* "": nobody's */
  dns_name_t name;
  lookup_addrs_cb addrs_cb;
  lookup_srvs_cb srvs_cb;
  lookup_ptrs_cb ptrs_cb;
  void *ctx;
  uint64_t deadline; /* monotonic ms */
  bool cancelled;
  unsigned left; /* parts not done */
  unsigned part_count;
  part_t parts[2];
  lookup_addrs_t addrs[2];
  lookup_srvs_t srvs;
  lookup_ptrs_t *ptrs; /* of a query for them */
};

static void on_deliver(uv_idle_t *idle);

/* Upper and lower case at random: what an attacker off the path must guess beside id and port. */
static void mix_case(dns_name_t *name)
{
  uint8_t bits[DNS_NAME_MAX];
  if (getrandom(bits, name->len, GRND_NONBLOCK) != (ssize_t)name->len)
    return;
  for (size_t i = 0; i < name->len; i += (size_t)name->wire[i] + 1)
    for (size_t k = i + 1; k <= i + name->wire[i]; k++)
      if (name->wire[k] >= 'a' && name->wire[k] <= 'z' && (bits[k] & 1))
        name->wire[k] = (uint8_t)(name->wire[k] - ('a' - 'A'));
}

/* ---- queries ---- */

static void query_free(lookup_query_t *q)
{
  lookup_t *l = q->lookup;
  list_remove(&q->link);
  l->pending--;
  if (l->pending == 0 && !l->freeing) {
    uv_idle_stop(&l->deliver);
    uv_timer_stop(&l->tick);
  }
  free(q->ptrs);
  free(q);
}

/* ---- questions that servers have ---- */

static attempt_t *attempt_new(lookup_t *l, part_t *part, size_t server, bool tcp, uint64_t now)
{
  attempt_t *a = calloc(1, sizeof *a);
  if (a == NULL)
    return NULL;
  *a = (attempt_t){.lookup = l, .part = part, .server = server, .at = now, .tcp = tcp};
  list_add_first(&l->attempts, &a->link);
  if (part == NULL) {
    l->servers[server].late++;
    return a;
  }
  part->running[server] = a;
  part->running_count++;
  return a;
}

static void attempt_free(attempt_t *a)
{
  lookup_t *l = a->lookup;
  if (a->part == NULL) {
    l->servers[a->server].late--;
  } else {
    a->part->running[a->server] = NULL;
    a->part->running_count--;
  }
  list_remove(&a->link);
  free(a);
}

/* Nobody waits for it any more. c-ares cannot take a question back, and its answer, if it comes, still
 * counts for the server. */
static void attempt_leave(attempt_t *a, uint64_t now)
{
  dns_servers_outrun(&a->lookup->past, a->server, now - a->at, now);
  a->part->running[a->server] = NULL;
  a->part->running_count--;
  a->part = NULL;
  a->lookup->servers[a->server].late++;
}

static bool worth_next_server(int err)
{
  return err == SMPL_ETIMEOUT || err == SMPL_ECLOSED || err == SMPL_EDENIED || err == SMPL_ESERVER ||
         err == SMPL_EPROTO;
}

/* One line when a server is lost, one when it is back. Names that a user chose may make it silent: not more
 * often. */
static void tell(server_t *s, bool lost, uint64_t now)
{
  char text[ENDPOINT_TEXT_MAX];
  if (lost == s->lost || (lost && s->lost_at != 0 && now - s->lost_at < LOOKUP_TELL_MS))
    return;
  s->lost = lost;
  if (lost) {
    s->lost_at = now;
    log_warn("resolver: %s does not answer", endpoint_format(&s->at, text));
  } else {
    log_info("resolver: %s answers again", endpoint_format(&s->at, text));
  }
}

/* What becomes of a question is remembered of its server. */
static void note(const attempt_t *a, int err, uint64_t now)
{
  dns_servers_t *past = &a->lookup->past;
  if (err == SMPL_ETIMEOUT)
    dns_servers_outrun(past, a->server, now - a->at, now);
  else if (worth_next_server(err))
    dns_servers_failed(past, a->server, now);
  else if (err != SMPL_ENOMEM)
    dns_servers_answered(past, a->server, now - a->at, now);
  if (err == SMPL_ETIMEOUT || err == SMPL_ECLOSED)
    tell(&a->lookup->servers[a->server], true, now);
  else if (err != SMPL_ENOMEM)
    tell(&a->lookup->servers[a->server], false, now);
}

/* ---- parts ---- */

static void part_done(part_t *part, int err, uint64_t now)
{
  lookup_t *l = part->query->lookup;
  for (size_t i = 0; i < l->past.count; i++)
    if (part->running[i] != NULL)
      attempt_leave(part->running[i], now);
  part->done = true;
  part->err = err;
  if (--part->query->left == 0)
    uv_idle_start(&l->deliver, on_deliver);
}

static void on_answer(void *ctx, int err, const uint8_t *msg, size_t len);

static void part_ask(part_t *part, size_t server, bool tcp, uint64_t now)
{
  lookup_t *l = part->query->lookup;
  attempt_t *a = attempt_new(l, part, server, tcp, now);
  part->asked |= 1u << server;
  part->next_at = now + LOOKUP_NEXT_MS;
  if (a == NULL)
    part_done(part, SMPL_ENOMEM, now);
  else
    dns_channel_ask(l->servers[server].channel, &part->question.asked, part->question.type, tcp, on_answer,
                    a);
}

/* The best server not asked yet. One that owes too many answers gets another question only if there is no
 * other hope. */
static size_t next_server(const part_t *part)
{
  const lookup_t *l = part->query->lookup;
  unsigned full = 0;
  for (size_t i = 0; i < l->past.count; i++)
    full |= l->servers[i].late >= LOOKUP_LATE_MAX ? 1u << i : 0;
  size_t server = dns_servers_best(&l->past, part->asked | full);
  if (server == l->past.count && part->running_count == 0)
    server = dns_servers_best(&l->past, part->asked);
  return server;
}

/* Asks the next server, or waits for those asked, or ends. */
static void part_go_on(part_t *part, uint64_t now)
{
  const lookup_query_t *q = part->query;
  size_t count = q->lookup->past.count;
  size_t server = q->cancelled ? count : next_server(part);
  if (server == count && part->running_count == 0 && part->timed_out && !q->cancelled && now < q->deadline) {
    part->timed_out = false;
    part->asked = 0;
    server = next_server(part);
  }
  if (server < count)
    part_ask(part, server, false, now);
  else if (part->running_count == 0)
    part_done(part, part->err, now);
}

/* What a server said outweighs that another one said nothing. */
static bool tells_more(int err, int than)
{
  return than == SMPL_OK || than == SMPL_ECLOSED || (than == SMPL_ETIMEOUT && err != SMPL_ECLOSED);
}

static void part_heard(part_t *part, size_t server, bool tcp, int err, uint64_t now)
{
  if (err == SMPL_EAGAIN && !tcp && !part->query->cancelled) {
    part_ask(part, server, true, now);
    return;
  }
  if (!worth_next_server(err)) {
    part_done(part, err, now);
    return;
  }
  part->timed_out = part->timed_out || err == SMPL_ETIMEOUT;
  if (tells_more(err, part->err))
    part->err = err;
  part_go_on(part, now);
}

static int part_read(part_t *part, const uint8_t *msg, size_t len, bool tcp)
{
  lookup_query_t *q = part->query;
  lookup_addrs_t *addrs = &q->addrs[part - q->parts];
  int err = lookup_answer_read(&part->question, msg, len, addrs, &q->srvs, q->ptrs);
  return err == SMPL_EAGAIN && tcp ? SMPL_EPROTO : err;
}

/* Whether an answer that nobody waits for is one. */
static int glance(const uint8_t *msg, size_t len)
{
  unsigned rcode = len < DNS_HEADER_LEN ? DNS_RCODE_FORMERR : msg[3] & 15;
  return rcode == DNS_RCODE_NOERROR || rcode == DNS_RCODE_NXDOMAIN ? SMPL_OK : SMPL_ESERVER;
}

static void on_answer(void *ctx, int err, const uint8_t *msg, size_t len)
{
  attempt_t *a = ctx;
  part_t *part = a->part;
  size_t server = a->server;
  bool tcp = a->tcp;
  uint64_t now = clock_mono_ms();
  if (err == SMPL_OK)
    err = part != NULL ? part_read(part, msg, len, tcp) : glance(msg, len);
  note(a, err, now);
  attempt_free(a);
  if (part != NULL)
    part_heard(part, server, tcp, err, now);
}

static void part_tick(part_t *part, uint64_t now)
{
  if (part->done)
    return;
  if (now >= part->query->deadline)
    part_done(part, part->err != SMPL_OK ? part->err : SMPL_ETIMEOUT, now);
  else if (now >= part->next_at)
    part_go_on(part, now);
}

static void on_tick(uv_timer_t *timer)
{
  lookup_t *l = timer->data;
  uint64_t now = clock_mono_ms();
  LIST_EACH(lookup_query_t, q, &l->queries, link)
    for (unsigned i = 0; i < q->part_count; i++)
      part_tick(&q->parts[i], now);
}

/* Now and then one that did badly gets the same question beside the best one. */
static void probe(const part_t *part, uint64_t now)
{
  lookup_t *l = part->query->lookup;
  size_t server = dns_servers_probe(&l->past, dns_servers_best(&l->past, 0), now);
  if (server == l->past.count || l->servers[server].late >= LOOKUP_LATE_MAX)
    return;
  attempt_t *a = attempt_new(l, NULL, server, false, now);
  if (a != NULL)
    dns_channel_ask(l->servers[server].channel, &part->question.asked, part->question.type, false, on_answer,
                    a);
}

/* ---- results ---- */

/* Appends what is not there yet. Two answers have room: each has at most LOOKUP_CHAIN_MAX. */
static void join_chain(lookup_addrs_t *out, const lookup_addrs_t *answer)
{
  for (size_t i = 0; i < answer->chain_count; i++) {
    size_t k = 0;
    while (k < out->chain_count && !dns_name_equal(&out->chain[k], &answer->chain[i]))
      k++;
    if (k == out->chain_count)
      out->chain[out->chain_count++] = answer->chain[i];
  }
}

/* Joins the two answers: any address is a success; else a failure to ask outweighs "there is none". */
static int join_addresses(lookup_query_t *q, lookup_addrs_t *out)
{
  *out = (lookup_addrs_t){.ttl = LOOKUP_TTL_MAX};
  int err = SMPL_EINVAL;
  for (unsigned i = 0; i < q->part_count; i++) {
    const lookup_addrs_t *a = &q->addrs[i];
    int e = q->parts[i].err;
    if (e == SMPL_ENOENT || (e != SMPL_OK && e != SMPL_EINVAL && err != SMPL_ENOENT))
      err = e;
    if (e != SMPL_OK)
      continue;
    join_chain(out, a);
    for (size_t k = 0; k < a->count && out->count < LOOKUP_ADDRS_MAX; k++)
      out->addrs[out->count++] = a->addrs[k];
    if (a->ttl < out->ttl)
      out->ttl = a->ttl;
  }
  return out->count > 0 ? SMPL_OK : err;
}

static int by_priority(const void *a, const void *b)
{
  const lookup_srv_t *x = a, *y = b;
  return (int)x->priority - (int)y->priority;
}

/* RFC 2782: within a priority, draw by weight. */
static void order_services(lookup_srvs_t *s)
{
  qsort(s->srvs, s->count, sizeof *s->srvs, by_priority);
  for (size_t i = 0; i + 1 < s->count; i++) {
    uint32_t sum = 0, draw = 0;
    size_t end = i;
    while (end < s->count && s->srvs[end].priority == s->srvs[i].priority)
      sum += s->srvs[end++].weight;
    if (sum == 0 || getrandom(&draw, sizeof draw, GRND_NONBLOCK) != (ssize_t)sizeof draw)
      continue;
    draw %= sum + 1;
    uint32_t run = 0;
    size_t pick = i;
    while (pick + 1 < end && (run += s->srvs[pick].weight) < draw)
      pick++;
    lookup_srv_t first = s->srvs[pick];
    memmove(&s->srvs[i + 1], &s->srvs[i], (pick - i) * sizeof first);
    s->srvs[i] = first;
  }
}

static void query_deliver(lookup_query_t *q)
{
  if (q->cancelled)
    return;
  if (q->srvs_cb != NULL) {
    order_services(&q->srvs);
    q->srvs_cb(q->ctx, q->parts[0].err, &q->srvs);
    return;
  }
  if (q->ptrs_cb != NULL) {
    q->ptrs_cb(q->ctx, q->parts[0].err, q->ptrs);
    return;
  }
  lookup_addrs_t joined;
  int err = join_addresses(q, &joined);
  q->addrs_cb(q->ctx, err, &joined);
}

static lookup_query_t *find_done(lookup_t *l)
{
  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list */
  LIST_EACH(lookup_query_t, q, &l->queries, link)
    if (q->left == 0)
      return q;
  return NULL;
}

static void on_deliver(uv_idle_t *idle)
{
  lookup_t *l = idle->data;
  lookup_query_t *q;
  /* A callback may start or cancel other queries, or free the whole lookup. */
  while (!l->freeing && (q = find_done(l)) != NULL) {
    q->left = UINT32_MAX; /* not found again */
    query_deliver(q);
    query_free(q);
  }
  if (!l->freeing)
    uv_idle_stop(&l->deliver);
}

static bool has_place(const lookup_t *l, const char *owner)
{
  size_t held = 0;
  if (owner == NULL)
    return l->pending < LOOKUP_PENDING_MAX;
  LIST_EACH(const lookup_query_t, q, &l->queries, link)
    held += strncmp(q->owner, owner, sizeof q->owner - 1) == 0;
  return share_allows(held, l->pending, LOOKUP_PENDING_MAX, LOOKUP_PART);
}

static void ask_all(lookup_query_t *q, const uint16_t *types)
{
  uint64_t now = clock_mono_ms();
  q->deadline = now + q->lookup->timeout_ms;
  for (unsigned i = 0; i < q->part_count; i++) {
    part_t *part = &q->parts[i];
    part->query = q;
    part->question = (lookup_question_t){q->name, q->name, types[i]};
    mix_case(&part->question.asked);
    if (i == 0)
      probe(part, now);
    part_go_on(part, now);
  }
}

static int query_start(lookup_t *l, const char *owner, const dns_name_t *name, const uint16_t *types,
                       unsigned count, lookup_ptrs_t *ptrs, lookup_query_t **out)
{
  if (!has_place(l, owner))
    return SMPL_ELIMIT;
  lookup_query_t *q = calloc(1, sizeof *q);
  if (q == NULL)
    return SMPL_ENOMEM;
  q->lookup = l;
  q->ptrs = ptrs;
  if (owner != NULL)
    memcpy(q->owner, owner, strnlen(owner, sizeof q->owner - 1));
  q->name = *name;
  dns_name_lower(&q->name);
  list_add_first(&l->queries, &q->link);
  if (l->pending++ == 0)
    uv_timer_start(&l->tick, on_tick, LOOKUP_TICK_MS, LOOKUP_TICK_MS);
  q->left = q->part_count = count;
  ask_all(q, types);
  *out = q;
  return SMPL_OK;
}

int lookup_addresses(lookup_t *l, const char *owner, const dns_name_t *name, lookup_addrs_cb cb, void *ctx,
                     lookup_query_t **query)
{
  static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_AAAA};
  lookup_query_t *q;
  int err = query_start(l, owner, name, types, 2, NULL, &q);
  if (err)
    return err;
  q->addrs_cb = cb;
  q->ctx = ctx;
  if (query != NULL)
    *query = q;
  return SMPL_OK;
}

int lookup_services(lookup_t *l, const char *owner, const dns_name_t *name, lookup_srvs_cb cb, void *ctx,
                    lookup_query_t **query)
{
  static const uint16_t types[] = {DNS_TYPE_SRV};
  lookup_query_t *q;
  int err = query_start(l, owner, name, types, 1, NULL, &q);
  if (err)
    return err;
  q->srvs_cb = cb;
  q->ctx = ctx;
  if (query != NULL)
    *query = q;
  return SMPL_OK;
}

int lookup_pointers(lookup_t *l, const char *owner, const dns_name_t *name, lookup_ptrs_cb cb, void *ctx,
                    lookup_query_t **query)
{
  static const uint16_t types[] = {DNS_TYPE_PTR};
  lookup_query_t *q;
  lookup_ptrs_t *ptrs = calloc(1, sizeof *ptrs); /* 65 KB: not in every query */
  int err = ptrs != NULL ? query_start(l, owner, name, types, 1, ptrs, &q) : SMPL_ENOMEM;
  if (err) {
    free(ptrs);
    return err;
  }
  q->ptrs_cb = cb;
  q->ctx = ctx;
  if (query != NULL)
    *query = q;
  return SMPL_OK;
}

void lookup_cancel(lookup_query_t *query)
{
  query->cancelled = true;
}

static void on_handle_closed(uv_handle_t *handle)
{
  lookup_t *l = handle->data;
  if (--l->handles == 0)
    free(l);
}

/* So that c-ares has given up by itself when the question's time is over: its second packet waits twice as
 * long. */
static int open_channel(lookup_t *l, uv_loop_t *loop, const lookup_conf_t *conf)
{
  size_t i = l->past.count++;
  l->servers[i].at = conf->servers[i];
  dns_channel_conf_t one = {conf->servers[i], conf->source, l->timeout_ms / 3};
  return dns_channel_new(loop, &one, &l->servers[i].channel);
}

int lookup_new(uv_loop_t *loop, const lookup_conf_t *conf, lookup_t **out, diag_t *diag)
{
  *out = NULL;
  if (conf->server_count == 0 || conf->server_count > LOOKUP_SERVERS_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "resolver: from 1 to %d servers, got %zu", LOOKUP_SERVERS_MAX,
                     conf->server_count);
  lookup_t *l = calloc(1, sizeof *l);
  if (l == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "resolver: out of memory");
  list_init(&l->queries);
  list_init(&l->attempts);
  l->timeout_ms = conf->timeout_ms != 0 ? conf->timeout_ms : LOOKUP_TIMEOUT_MS_DEFAULT;
  uv_idle_init(loop, &l->deliver);
  uv_timer_init(loop, &l->tick);
  l->deliver.data = l->tick.data = l;
  l->handles = 2;
  int err = SMPL_OK;
  while (l->past.count < conf->server_count && !err)
    err = open_channel(l, loop, conf);
  if (err) {
    lookup_free(l);
    return diag_fail(diag, err, "resolver: c-ares: %s", smpl_strerror(err));
  }
  *out = l;
  return SMPL_OK;
}

lookup_t *lookup_hold(lookup_t *l)
{
  if (l != NULL)
    l->holders++;
  return l;
}

void lookup_free(lookup_t *l)
{
  if (l == NULL || l->freeing)
    return;
  if (l->holders > 0) {
    l->holders--;
    return;
  }
  l->freeing = true;
  for (size_t i = 0; i < l->past.count; i++)
    dns_channel_free(l->servers[i].channel);
  LIST_EACH(attempt_t, a, &l->attempts, link)
    attempt_free(a);
  /* The one being delivered, if any, is freed by on_deliver. */
  LIST_EACH(lookup_query_t, q, &l->queries, link)
    if (q->left != UINT32_MAX)
      query_free(q);
  uv_close((uv_handle_t *)&l->deliver, on_handle_closed);
  uv_close((uv_handle_t *)&l->tick, on_handle_closed);
}
