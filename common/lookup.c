#include "common/lookup.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/dns_channel.h"
#include "common/error.h"
#include "common/share.h"

struct lookup {
  uv_idle_t deliver; /* runs callbacks outside c-ares, on the next turn of the loop */
  dns_channel_t *servers[LOOKUP_SERVERS_MAX];
  size_t server_count;
  lookup_query_t *all; /* every query not yet freed */
  size_t pending;
  size_t holders; /* beside whoever made it */
  bool freeing;
};

/* One question to the servers: a query for addresses has two. */
typedef struct part {
  lookup_query_t *query;
  uint16_t type;
  dns_name_t asked; /* with the random case that was sent */
  size_t server;
  bool tcp;
  bool done;
  int err;
} part_t;

struct lookup_query {
  lookup_t *lookup;
  lookup_query_t *prev, *next;
  char owner[LOOKUP_OWNER_MAX]; /* "": nobody's */
  dns_name_t name;
  lookup_addrs_cb addrs_cb;
  lookup_srvs_cb srvs_cb;
  lookup_ptrs_cb ptrs_cb;
  void *ctx;
  bool cancelled;
  unsigned left; /* parts not done */
  unsigned part_count;
  part_t parts[2];
  lookup_addrs_t addrs[2];
  lookup_srvs_t srvs;
  lookup_ptrs_t *ptrs; /* of a query for them */
};

static void part_send(part_t *part);
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

/* --- taking an answer apart --- */

/* The cursor at the answer section, if this message answers the part's question at all. */
static int open_answer(const part_t *part, const uint8_t *msg, size_t len, dns_wire_t *w, dns_header_t *h)
{
  dns_name_t name;
  uint16_t type, klass;
  *w = dns_wire_of(msg, len);
  if (dns_wire_header(w, h) || !(h->flags & DNS_FLAG_QR) || dns_opcode(h->flags) != 0 || h->qdcount != 1 ||
      dns_wire_question(w, &name, &type, &klass))
    return SMPL_EPROTO;
  if (type != part->type || klass != DNS_CLASS_IN || !dns_name_equal(&name, &part->asked))
    return SMPL_EPROTO;
  return SMPL_OK;
}

static void lower_ttl(uint32_t *ttl, uint32_t other)
{
  if (other < *ttl)
    *ttl = other;
}

/* Reads one record and its owner in lower case. */
static int next_rr(dns_wire_t *w, dns_rr_t *rr)
{
  if (dns_wire_rr(w, rr))
    return SMPL_EPROTO;
  dns_name_lower(&rr->owner);
  return SMPL_OK;
}

/* The target of current's CNAME in the answer section, if there is one. */
static int find_alias(dns_wire_t answers, unsigned count, const dns_name_t *current, dns_name_t *target,
                      uint32_t *ttl)
{
  for (unsigned i = 0; i < count; i++) {
    dns_rr_t rr;
    if (next_rr(&answers, &rr))
      return SMPL_EPROTO;
    if (rr.type != DNS_TYPE_CNAME || rr.klass != DNS_CLASS_IN || !dns_name_equal(&rr.owner, current))
      continue;
    dns_wire_t data = dns_wire_of(answers.data, rr.rdata + rr.rdlen);
    data.at = rr.rdata;
    if (dns_wire_name(&data, target) || dns_wire_left(&data) != 0)
      return SMPL_EPROTO;
    dns_name_lower(target);
    lower_ttl(ttl, rr.ttl);
    return SMPL_OK;
  }
  return SMPL_ENOENT;
}

static int follow_aliases(dns_wire_t answers, unsigned count, dns_name_t *current, lookup_addrs_t *out)
{
  for (;;) {
    dns_name_t target;
    int err = find_alias(answers, count, current, &target, &out->ttl);
    if (err)
      return err == SMPL_ENOENT ? SMPL_OK : err;
    if (out->chain_count == LOOKUP_CHAIN_MAX)
      return SMPL_ELIMIT;
    out->chain[out->chain_count++] = target;
    *current = target;
  }
}

static int take_addresses(dns_wire_t w, unsigned count, uint16_t type, const dns_name_t *owner,
                          lookup_addrs_t *out)
{
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  size_t size = type == DNS_TYPE_A ? 4 : 16;
  for (unsigned i = 0; i < count; i++) {
    dns_rr_t rr;
    if (next_rr(&w, &rr))
      return SMPL_EPROTO;
    if (rr.type != type || rr.klass != DNS_CLASS_IN || !dns_name_equal(&rr.owner, owner))
      continue;
    if (rr.rdlen != size)
      return SMPL_EPROTO;
    lower_ttl(&out->ttl, rr.ttl);
    if (out->count == LOOKUP_ADDRS_MAX)
      continue;
    ip_t *ip = &out->addrs[out->count++];
    memcpy(ip->b, mapped, sizeof mapped);
    memcpy(ip->b + sizeof ip->b - size, w.data + rr.rdata, size);
  }
  return SMPL_OK;
}

static int take_services(dns_wire_t w, unsigned count, const dns_name_t *owner, lookup_srvs_t *out)
{
  for (unsigned i = 0; i < count; i++) {
    dns_rr_t rr;
    if (next_rr(&w, &rr))
      return SMPL_EPROTO;
    if (rr.type != DNS_TYPE_SRV || rr.klass != DNS_CLASS_IN || !dns_name_equal(&rr.owner, owner))
      continue;
    lookup_srv_t srv;
    dns_wire_t data = dns_wire_of(w.data, rr.rdata + rr.rdlen);
    data.at = rr.rdata;
    if (dns_wire_u16(&data, &srv.priority) || dns_wire_u16(&data, &srv.weight) ||
        dns_wire_u16(&data, &srv.port) || dns_wire_name(&data, &srv.target) || dns_wire_left(&data) != 0)
      return SMPL_EPROTO;
    dns_name_lower(&srv.target);
    lower_ttl(&out->ttl, rr.ttl);
    if (out->count < LOOKUP_SRVS_MAX)
      out->srvs[out->count++] = srv;
  }
  return SMPL_OK;
}

static int take_pointers(dns_wire_t w, unsigned count, const dns_name_t *owner, lookup_ptrs_t *out)
{
  for (unsigned i = 0; i < count; i++) {
    dns_rr_t rr;
    dns_name_t name;
    if (next_rr(&w, &rr))
      return SMPL_EPROTO;
    if (rr.type != DNS_TYPE_PTR || rr.klass != DNS_CLASS_IN || !dns_name_equal(&rr.owner, owner))
      continue;
    dns_wire_t data = dns_wire_of(w.data, rr.rdata + rr.rdlen);
    data.at = rr.rdata;
    if (dns_wire_name(&data, &name) || dns_wire_left(&data) != 0)
      return SMPL_EPROTO;
    dns_name_lower(&name);
    lower_ttl(&out->ttl, rr.ttl);
    if (out->count < LOOKUP_PTRS_MAX)
      out->names[out->count++] = name;
  }
  return SMPL_OK;
}

static int read_records(part_t *part, dns_wire_t w, unsigned ancount)
{
  lookup_query_t *q = part->query;
  lookup_addrs_t *out = &q->addrs[part - q->parts];
  dns_name_t owner = q->name;
  out->ttl = LOOKUP_TTL_MAX;
  int err = follow_aliases(w, ancount, &owner, out);
  if (err)
    return err;
  if (part->type == DNS_TYPE_SRV) {
    q->srvs.ttl = out->ttl;
    err = take_services(w, ancount, &owner, &q->srvs);
    return err ? err : q->srvs.count > 0 ? SMPL_OK : SMPL_EINVAL;
  }
  if (part->type == DNS_TYPE_PTR) {
    q->ptrs->ttl = out->ttl;
    err = take_pointers(w, ancount, &owner, q->ptrs);
    return err ? err : q->ptrs->count > 0 ? SMPL_OK : SMPL_EINVAL;
  }
  err = take_addresses(w, ancount, part->type, &owner, out);
  return err ? err : out->count > 0 ? SMPL_OK : SMPL_EINVAL;
}

/* The outcome of an answer; SMPL_EAGAIN: truncated, ask by TCP. */
static int read_answer(part_t *part, const uint8_t *msg, size_t len)
{
  dns_wire_t w;
  dns_header_t h;
  int err = open_answer(part, msg, len, &w, &h);
  if (err)
    return err;
  switch (h.flags & 15) {
  case DNS_RCODE_NOERROR:
    break;
  case DNS_RCODE_NXDOMAIN:
    return SMPL_ENOENT;
  case DNS_RCODE_REFUSED:
    return SMPL_EDENIED;
  default:
    return SMPL_ESERVER;
  }
  if (h.flags & DNS_FLAG_TC)
    return part->tcp ? SMPL_EPROTO : SMPL_EAGAIN;
  return read_records(part, w, h.ancount);
}

/* --- queries --- */

static void query_free(lookup_query_t *q)
{
  lookup_t *l = q->lookup;
  if (q->prev != NULL)
    q->prev->next = q->next;
  else
    l->all = q->next;
  if (q->next != NULL)
    q->next->prev = q->prev;
  l->pending--;
  if (l->pending == 0 && !l->freeing)
    uv_idle_stop(&l->deliver);
  free(q->ptrs);
  free(q);
}

static void part_done(part_t *part, int err)
{
  part->done = true;
  part->err = err;
  part->query->left--;
}

static bool worth_next_server(int err)
{
  return err == SMPL_ETIMEOUT || err == SMPL_ECLOSED || err == SMPL_EDENIED || err == SMPL_ESERVER ||
         err == SMPL_EPROTO;
}

static void on_answer(void *ctx, int err, const uint8_t *msg, size_t len)
{
  part_t *part = ctx;
  lookup_t *l = part->query->lookup;
  if (err == SMPL_OK)
    err = read_answer(part, msg, len);
  if (l->freeing || part->query->cancelled) {
    part_done(part, SMPL_ECLOSED);
  } else if (err == SMPL_EAGAIN) {
    part->tcp = true;
    part_send(part);
  } else if (worth_next_server(err) && part->server + 1 < l->server_count) {
    part->server++;
    part->tcp = false;
    part_send(part);
  } else {
    part_done(part, err);
  }
  if (part->done && part->query->left == 0 && !l->freeing)
    uv_idle_start(&l->deliver, on_deliver);
}

static void part_send(part_t *part)
{
  lookup_t *l = part->query->lookup;
  lookup_addrs_t *out = &part->query->addrs[part - part->query->parts];
  out->count = 0;
  out->chain_count = 0;
  part->query->srvs.count = 0; /* what a server said before its answer turned out broken */
  if (part->query->ptrs != NULL)
    part->query->ptrs->count = 0;
  part->asked = part->query->name;
  mix_case(&part->asked);
  dns_channel_ask(l->servers[part->server], &part->asked, part->type, part->tcp, on_answer, part);
}

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
    lower_ttl(&out->ttl, a->ttl);
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
  lookup_query_t *q = l->all;
  while (q != NULL && q->left > 0)
    q = q->next;
  return q;
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
  for (const lookup_query_t *q = l->all; q != NULL; q = q->next)
    held += strncmp(q->owner, owner, sizeof q->owner - 1) == 0;
  return share_allows(held, l->pending, LOOKUP_PENDING_MAX, LOOKUP_PART);
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
  q->next = l->all;
  if (l->all != NULL)
    l->all->prev = q;
  l->all = q;
  l->pending++;
  q->left = q->part_count = count;
  for (unsigned i = 0; i < count; i++) {
    q->parts[i].query = q;
    q->parts[i].type = types[i];
    part_send(&q->parts[i]);
  }
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

static void on_deliver_closed(uv_handle_t *handle)
{
  free(handle->data);
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
  uv_idle_init(loop, &l->deliver);
  l->deliver.data = l;
  int err = SMPL_OK;
  while (l->server_count < conf->server_count && !err) {
    dns_channel_conf_t one = {conf->servers[l->server_count], conf->source, conf->timeout_ms};
    if (one.timeout_ms == 0)
      one.timeout_ms = LOOKUP_TIMEOUT_MS_DEFAULT;
    err = dns_channel_new(loop, &one, &l->servers[l->server_count++]);
  }
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
  for (size_t i = 0; i < l->server_count; i++)
    dns_channel_free(l->servers[i]);
  /* The one being delivered, if any, is freed by on_deliver. */
  for (lookup_query_t *q = l->all, *next; q != NULL; q = next) {
    next = q->next;
    if (q->left != UINT32_MAX)
      query_free(q);
  }
  uv_close((uv_handle_t *)&l->deliver, on_deliver_closed);
}
