#include "resolver/respond.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/error.h"

struct responder {
  unsigned worker;
  cookies_t *cookies;
};

int responder_new(unsigned worker, const cookie_secret_t *secret, responder_t **out)
{
  *out = NULL;
  responder_t *r = calloc(1, sizeof *r);
  if (r == NULL)
    return SMPL_ENOMEM;
  r->worker = worker;
  int err = cookies_new(secret, &r->cookies);
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
  free(responder);
}

/* RFC 7873 section 5.2: whoever sends a cookie gets ours, whatever the one it sent is worth. */
static void put_cookie(responder_t *r, const ip_t *peer, const answer_note_t *note, uint8_t *out)
{
  cookie_client_t client = {note->cookie, peer, (uint32_t)(clock_wall_ms() / 1000), clock_mono_ms()};
  cookies_make(r->cookies, &client, out + note->cookie_at);
}

size_t respond(responder_t *responder, const snapshot_t *s, size_t listener, const ip_t *peer,
               answer_transport_t transport, const uint8_t *msg, size_t len, uint8_t *out, size_t cap)
{
  size_t number;
  answer_note_t note;
  const view_t *view = snapshot_choose(s, listener, peer, &number);
  size_t n = answer(view, transport, msg, len, out, cap, &note);
  stats_t *counters = snapshot_stats(s, responder->worker, number);
  if (n == 0) {
    stats_add(counters, STATS_DROPPED);
    return 0;
  }
  if (note.cookie_at > 0)
    put_cookie(responder, peer, &note, out);
  stats_add(counters, transport == ANSWER_UDP ? STATS_UDP : STATS_TCP);
  stats_add(counters, STATS_RCODE0 + (note.rcode < STATS_RCODES ? note.rcode : STATS_RCODES - 1u));
  if (note.truncated)
    stats_add(counters, STATS_TRUNCATED);
  return n;
}
