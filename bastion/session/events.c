/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/events.h"

#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

uint64_t events_idle_left(const session_t *s, uint64_t now)
{
  uint64_t idle = now - s->times.active_at;
  return idle < s->limits.idle_ms ? s->limits.idle_ms - idle : 0;
}

uint64_t events_session_left(const session_t *s, uint64_t now)
{
  uint64_t age = now - s->times.opened_at;
  uint64_t left = age < s->limits.session_ms ? s->limits.session_ms - age : 0;
  uint64_t hours = s->limits.hours_end > now ? s->limits.hours_end - now : 0;
  return hours < left ? hours : left;
}

static void send_event(session_t *s, json_t *event)
{
  msg_t m;
  msg_init(&m, MSG_EVENT, 0, s->number);
  size_t len = event != NULL ? json_dumpb(event, m.json.json, MSG_JSON_MAX - 1, JSON_COMPACT) : 0;
  json_decref(event);
  if (len == 0 || len > MSG_JSON_MAX - 1)
    return;
  m.json.json[len] = '\0';
  m.json.len = (uint32_t)len;
  session_send(s, &m, -1);
}

static void say(session_t *s, const char *words)
{
  msg_t m;
  msg_init(&m, MSG_SAY, 0, s->number);
  text_copy(m.text.text, sizeof m.text.text, words);
  session_send(s, &m, -1);
}

static void warn(session_t *s, reason_t reason, uint64_t left_ms)
{
  char words[MSG_TEXT_MAX];
  unsigned long long left_s = (left_ms + 999) / 1000;
  snprintf(words, sizeof words, "session %s ends in %llu s%s", s->id, left_s,
           reason == REASON_IDLE ? " unless bytes are forwarded: it is idle" : ": its time is over");
  send_event(s, json_pack("{s:s, s:s, s:I, s:s}", "event", "expiring", "reason", reason_name(reason),
                          "left_s", (json_int_t)left_s, "text", words));
  say(s, words);
}

void events_stopping(session_t *s, uint64_t left_ms)
{
  char words[MSG_TEXT_MAX];
  unsigned long long left_s = (left_ms + 999) / 1000;
  snprintf(words, sizeof words, "session %s ends in %llu s: %s", s->id, left_s, reason_text(REASON_SHUTDOWN));
  send_event(s, json_pack("{s:s, s:s, s:I, s:s}", "event", "expiring", "reason", reason_name(REASON_SHUTDOWN),
                          "left_s", (json_int_t)left_s, "text", words));
  say(s, words);
}

void events_warn(session_t *s, uint64_t now)
{
  uint64_t idle = events_idle_left(s, now), session = events_session_left(s, now);
  reason_t reason = idle < session ? REASON_IDLE : REASON_SESSION_LIMIT;
  uint64_t left = idle < session ? idle : session;
  uint64_t limit = idle < session ? s->limits.idle_ms : s->limits.session_ms;
  session_warning_t *w = &s->limits.warning;
  if (w->given && left > w->lowest + EVENTS_AVERTED_MS)
    *w = (session_warning_t){.again = true};
  if (w->given && left < w->lowest)
    w->lowest = left;
  /* The first time at once where the limit is short; after that only when half of it is over, lest each byte
   * be followed by a warning. */
  uint64_t near = w->again && limit / 2 < EVENTS_WARN_MS ? limit / 2 : EVENTS_WARN_MS;
  if (w->given || left > near)
    return;
  *w = (session_warning_t){true, w->again, left};
  warn(s, reason, left);
}

void events_ending(session_t *s)
{
  if (!s->started)
    return;
  send_event(s, json_pack("{s:s, s:s, s:s}", "event", "ending", "reason", reason_name(s->ending.reason),
                          "text", s->ending.text));
}
