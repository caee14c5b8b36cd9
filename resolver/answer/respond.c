/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/answer/respond.h"

#include <openssl/rand.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "resolver/answer/limiter.h"

struct responder {
  unsigned worker;
  query_ring_t *ring; /* NULL: no query log */
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

static cookie_client_t client_of(const ip_t *peer, const answer_note_t *note)
{
  return (cookie_client_t){note->cookie, peer, (uint32_t)(clock_wall_ms() / 1000), clock_mono_ms()};
}

/* RFC 7873 section 5.2: whoever sends a cookie gets ours, whatever the one it sent is worth. */
static void put_cookie(responder_t *r, const ip_t *peer, const answer_note_t *note, uint8_t *out)
{
  cookie_client_t client = client_of(peer, note);
  cookies_make(r->cookies, &client, out + note->cookie_at);
}

static bool has_valid_cookie(responder_t *r, const ip_t *peer, const answer_note_t *note)
{
  if (note->server_cookie_len == 0)
    return false;
  cookie_client_t client = client_of(peer, note);
  return cookies_valid(r->cookies, &client, note->cookie + COOKIE_CLIENT_LEN, note->server_cookie_len);
}

/* What a public view sends instead of an answer above its rate. Only its rcode counts for that, so that a
 * refusal is limited alike for every name. */
static size_t limit(responder_t *r, uint32_t rate, uint32_t view, const ip_t *peer, const uint8_t *msg,
                    size_t len, uint8_t *out, size_t n, answer_note_t *note, stats_t *counters)
{
  limiter_kind_t kind = note->rcode == DNS_RCODE_NOERROR    ? LIMITER_DATA
                        : note->rcode == DNS_RCODE_NXDOMAIN ? LIMITER_NXDOMAIN
                                                            : LIMITER_ERROR;
  if (has_valid_cookie(r, peer, note))
    return n;
  limiter_verdict_t verdict = limiter_take(r->limiter, peer, view, kind, rate, clock_mono_ms());
  if (verdict == LIMITER_PASS)
    return n;
  stats_add(counters, STATS_LIMITED);
  return verdict == LIMITER_SLIP ? answer_short(msg, len, out, note) : 0;
}

size_t respond(responder_t *responder, const snapshot_t *s, size_t listener, const ip_t *peer,
               answer_transport_t transport, const uint8_t *msg, size_t len, uint8_t *out, size_t cap)
{
  snapshot_view_t chosen;
  snapshot_choose(s, listener, peer, 1, &chosen);
  return respond_chosen(responder, s, chosen, listener, peer, transport, msg, len, out, cap);
}

size_t respond_chosen(responder_t *responder, const snapshot_t *s, snapshot_view_t chosen, size_t listener,
                      const ip_t *peer, answer_transport_t transport, const uint8_t *msg, size_t len,
                      uint8_t *out, size_t cap)
{
  answer_note_t note;
  const view_t *view = chosen.view;
  size_t number = chosen.number;
  size_t n = answer(view, transport, msg, len, out, cap, &note);
  stats_t *counters = snapshot_stats(s, responder->worker, number);
  if (n == 0) {
    stats_add(counters, STATS_DROPPED);
    return 0;
  }
  uint32_t rate = transport == ANSWER_UDP ? snapshot_rate_limit(s, number) : 0;
  if (rate > 0)
    n = limit(responder, rate, (uint32_t)number, peer, msg, len, out, n, &note, counters);
  if (n == 0)
    return 0;
  if (note.cookie_at > 0)
    put_cookie(responder, peer, &note, out);
  stats_add(counters, transport == ANSWER_UDP ? STATS_UDP : STATS_TCP);
  stats_add(counters, stats_rcode(note.rcode));
  if (note.zone != NULL)
    zone_stats_add(snapshot_zone_stats(s, responder->worker, note.zone));
  if (note.truncated)
    stats_add(counters, STATS_TRUNCATED);
  if (responder->ring != NULL) {
    query_event_t e = {view != NULL ? view_name(view) : NULL,
                       listener,
                       peer,
                       transport,
                       msg,
                       len,
                       note.rcode,
                       note.truncated,
                       n};
    query_ring_note(responder->ring, &e);
  }
  return n;
}
