/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/terms.h"

static void merge_limits(session_t *s, const grant_t *g, uint64_t hours_end, bool strictest, bool first)
{
  if (first || (strictest ? hours_end < s->limits.hours_end : hours_end > s->limits.hours_end))
    s->limits.hours_end = hours_end;
  if (first || (strictest ? g->idle_ms < s->limits.idle_ms : g->idle_ms > s->limits.idle_ms))
    s->limits.idle_ms = g->idle_ms;
  if (first || (strictest ? g->session_ms < s->limits.session_ms : g->session_ms > s->limits.session_ms))
    s->limits.session_ms = g->session_ms;
}

/* The strictest of the grants that open connections use; while none is open, the most generous of the user's
 * that are in force. */
bool terms_set(session_t *s)
{
  if (s->state == STATE_ENDING)
    return false;
  const config_t *c = session_config(s);
  bool first = true;
  LIST_EACH(const channel_t, ch, &s->traffic.channels, link) {
    if (ch->state == CHANNEL_OPENING)
      continue;
    merge_limits(s, &c->grants[ch->grant], ch->hours_end, true, first);
    first = false;
  }
  grant_subject_t subject;
  if (!first || !identity_subject(&s->who, c, &subject))
    return !first;
  s->limits.idle_ms = s->limits.session_ms = SESSION_UNGRANTED_MS;
  s->limits.hours_end = UINT64_MAX;
  for (size_t g = 0; g < config_grant_count(c); g++) {
    uint64_t hours_end = grant_covers_subject(&c->grants[g], &subject) ? finder_hours_end(&c->grants[g]) : 0;
    if (hours_end == 0)
      continue;
    merge_limits(s, &c->grants[g], hours_end, false, first);
    first = false;
  }
  return !first;
}
