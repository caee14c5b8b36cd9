/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/respond.h"

#include <openssl/rand.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "resolver/answer/limiter.h"

struct responder {
  unsigned worker;
  query_ring_t *ring;           /* NULL: no query log */
  const elsewhere_t *elsewhere; /* NULL: zones alone answer */
  cookies_t *cookies;
  limiter_t *limiter;
};

int responder_new(unsigned worker, const cookie_secret_t *secret, responder_t **out)
{
  *out = NULL;
  responder_t *r = calloc(1, sizeof *r);
  if (r == NULL)
    return SMPL_ENOMEM;
  r->worker = worker;
  int err = cookies_new(secret, &r->cookies);
  uint64_t seed;
  if (!err && RAND_bytes((uint8_t *)&seed, sizeof seed) != 1)
    err = SMPL_ESYS;
  if (!err) {
    r->limiter = limiter_new(seed);
    err = r->limiter == NULL ? SMPL_ENOMEM : SMPL_OK;
  }
  if (err)
    responder_free(r);
  else
    *out = r;
  return err;
}

void responder_free(responder_t *responder)
{
  if (responder == NULL)
    return;
  cookies_free(responder->cookies);
  limiter_free(responder->limiter);
  free(responder);
}

unsigned responder_worker(const responder_t *responder)
{
  return responder->worker;
}

void responder_log(responder_t *responder, query_ring_t *ring)
{
  responder->ring = ring;
}

void responder_elsewhere(responder_t *responder, const elsewhere_t *elsewhere)
{
  responder->elsewhere = elsewhere;
}

static cookie_client_t client_of(const exchange_t *x)
{
  return (cookie_client_t){x->note.cookie, x->peer, (uint32_t)(clock_wall_ms() / 1000), clock_mono_ms()};
}

/* RFC 7873 section 5.2: whoever sends a cookie gets ours, whatever the one it sent is worth. */
static void put_cookie(responder_t *r, exchange_t *x)
{
  cookie_client_t client = client_of(x);
  cookies_make(r->cookies, &client, x->out + x->note.cookie_at);
}

static bool has_valid_cookie(responder_t *r, const exchange_t *x)
{
  if (x->note.server_cookie_len == 0)
    return false;
  cookie_client_t client = client_of(x);
  return cookies_valid(r->cookies, &client, x->note.cookie + COOKIE_CLIENT_LEN, x->note.server_cookie_len);
}

/* What a public view sends instead of an answer above its rate. Only the answer's rcode counts for that, so
 * that a refusal is limited alike for every name. */
static void limit(responder_t *r, uint32_t rate, exchange_t *x, stats_t *counters)
{
  limiter_kind_t kind = x->note.rcode == DNS_RCODE_NOERROR    ? LIMITER_DATA
                        : x->note.rcode == DNS_RCODE_NXDOMAIN ? LIMITER_NXDOMAIN
                                                              : LIMITER_ERROR;
  if (has_valid_cookie(r, x))
    return;
  limiter_verdict_t verdict =
      limiter_take(r->limiter, x->peer, (uint32_t)x->chosen.number, kind, rate, clock_mono_ms());
  if (verdict == LIMITER_PASS)
    return;
  stats_add(counters, STATS_LIMITED);
  if (verdict == LIMITER_SLIP)
    answer_short(x);
  else
    x->out_len = 0;
}

static void log_answer(responder_t *r, const exchange_t *x)
{
  const view_t *view = x->chosen.view;
  query_event_t e = {view != NULL ? view_name(view) : NULL,
                     x->listener,
                     x->peer,
                     x->transport,
                     x->msg,
                     x->len,
                     x->note.rcode,
                     x->note.truncated,
                     x->out_len};
  query_ring_note(r->ring, &e);
}

/* What every answer gets, whoever wrote it. */
static exchange_verdict_t conclude(responder_t *r, const snapshot_t *s, exchange_t *x)
{
  stats_t *counters = snapshot_stats(s, r->worker, x->chosen.number);
  if (x->out_len == 0) {
    stats_add(counters, STATS_DROPPED);
    return EXCHANGE_DROP;
  }
  uint32_t rate = x->transport == EXCHANGE_UDP ? snapshot_rate_limit(s, x->chosen.number) : 0;
  if (rate > 0)
    limit(r, rate, x, counters);
  if (x->out_len == 0)
    return EXCHANGE_DROP;
  if (x->note.cookie_at > 0)
    put_cookie(r, x);
  stats_add(counters, x->transport == EXCHANGE_UDP ? STATS_UDP : STATS_TCP);
  stats_add(counters, stats_rcode(x->note.rcode));
  if (x->note.zone != NULL)
    zone_stats_add(snapshot_zone_stats(s, r->worker, x->note.zone));
  if (x->note.truncated)
    stats_add(counters, STATS_TRUNCATED);
  if (r->ring != NULL)
    log_answer(r, x);
  return EXCHANGE_SEND;
}

/* Invariant 3: a public view, which is one with a rate, never gets anything from elsewhere. */
static bool is_elsewhere(const responder_t *r, const snapshot_t *s, const exchange_t *x)
{
  query_t q;
  return r->elsewhere != NULL && snapshot_rate_limit(s, x->chosen.number) == 0 &&
         query_read(x->msg, x->len, &q) == QUERY_READ &&
         r->elsewhere->has(r->elsewhere->ctx, x->chosen.view, &q);
}

exchange_verdict_t respond(responder_t *responder, const snapshot_t *s, exchange_t *x)
{
  answer(x);
  if (x->note.missing && is_elsewhere(responder, s, x))
    return EXCHANGE_LATER;
  return conclude(responder, s, x);
}

void respond_filled(responder_t *responder, const snapshot_t *s, exchange_t *x, answer_fill_t fill,
                    void *fill_ctx)
{
  answer_filled(x, fill, fill_ctx);
  conclude(responder, s, x);
}
