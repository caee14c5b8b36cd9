#include "resolver/respond.h"

size_t respond(const snapshot_t *s, unsigned worker, size_t listener, const ip_t *peer,
               answer_transport_t transport, const uint8_t *msg, size_t len, uint8_t *out, size_t cap)
{
  size_t number;
  answer_note_t note;
  const view_t *view = snapshot_choose(s, listener, peer, &number);
  size_t n = answer(view, transport, msg, len, out, cap, &note);
  stats_t *counters = snapshot_stats(s, worker, number);
  if (n == 0) {
    stats_add(counters, STATS_DROPPED);
    return 0;
  }
  stats_add(counters, transport == ANSWER_UDP ? STATS_UDP : STATS_TCP);
  stats_add(counters, STATS_RCODE0 + (note.rcode < STATS_RCODES ? note.rcode : STATS_RCODES - 1u));
  if (note.truncated)
    stats_add(counters, STATS_TRUNCATED);
  return n;
}
