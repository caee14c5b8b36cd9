/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/sweep.h"

#include <stdio.h>

#include "bastion/session/channel.h"
#include "bastion/session/events.h"
#include "bastion/session/life.h"
#include "bastion/session/question.h"
#include "bastion/session/record.h"
#include "bastion/session/terms.h"
#include "common/base/clock.h"
#include "common/base/text.h"

/* ---- deadlines ---- */

static void end_idle(session_t *s)
{
  char time[32], text[MSG_TEXT_MAX];
  snprintf(text, sizeof text, "no bytes were forwarded for %s, the grant's idle time",
           text_format_duration(time, sizeof time, s->limits.idle_ms));
  session_end(s, REASON_IDLE, text);
}

static void end_long(session_t *s)
{
  char time[32], text[MSG_TEXT_MAX];
  snprintf(text, sizeof text, "the grant's session time of %s is over",
           text_format_duration(time, sizeof time, s->limits.session_ms));
  session_end(s, REASON_SESSION_LIMIT, text);
}

/* Another grant, or hours that follow, may go on with it. Whether it does so within that grant's
 * max_sessions, the sweep asks once all sessions are judged. */
static void judge_hours_of(session_t *s)
{
  bool had_end = s->limits.hours_end != UINT64_MAX;
  bool granted = channel_all_granted(s);
  bool in_force = terms_set(s) || !had_end; /* a user without any grant has its own short time */
  s->all->rejudged = true;
  if (!granted || !in_force)
    session_end(s, REASON_OUTSIDE_HOURS, "the grant's hours are over");
}

static void tell_end(session_t *s)
{
  events_ending(s);
  msg_t m;
  msg_init(&m, MSG_END, 0, s->number);
  m.text.reason = s->ending.reason;
  text_copy(m.text.text, sizeof m.text.text, s->ending.text);
  session_send(s, &m, -1);
}

/* A worker that has gone is waited for only to learn how it ended, where it did not say why itself. */
static void sweep_ending(session_t *s, uint64_t now)
{
  if (!s->ending.swept) {
    s->ending.swept = true;
    channel_give_up_all(s);
    question_drop_all(s);
    if (!s->worker.bye)
      tell_end(s);
  }
  bool known = s->ending.reason != REASON_NONE || s->worker.exited;
  if (s->ending.cut || (s->worker.gone && known) || now >= s->ending.by)
    life_finish(s);
}

static void sweep_one(session_t *s, uint64_t now)
{
  if (s->state == STATE_ENDING) {
    sweep_ending(s, now);
  } else if (s->all->stopping && (s->traffic.count == 0 || now >= s->all->drained_by)) {
    session_end(s, REASON_SHUTDOWN, NULL);
  } else if (s->state != STATE_OPEN) {
    if (now >= s->login.by)
      session_end(s, REASON_LOGIN_GRACE, NULL);
  } else if (now - s->times.opened_at >= s->limits.session_ms) {
    end_long(s);
  } else if (now >= s->limits.hours_end) {
    judge_hours_of(s);
  } else if (now - s->times.active_at >= s->limits.idle_ms) {
    end_idle(s);
  } else {
    events_warn(s, now);
  }
}

/* ---- hours ---- */

/* Whether what signed in still may. */
static reason_t judge_identity(session_t *s)
{
  return identity_judge(&s->who, session_config(s), &s->source.ip, clock_wall_ms() / 1000);
}

/* Once all connections are judged anew, and know the numbers of their grants: ends sessions above
 * max_sessions, the newest first. */
static size_t judge_limits(sessions_t *all, reason_t reason, const char *text)
{
  size_t ended = 0;
  LIST_EACH(session_t, s, &all->list, link) {
    if (s->state != STATE_OPEN || !channel_over_limit(s))
      continue;
    session_end(s, reason, text);
    ended++;
  }
  return ended;
}

static bool any_hours(const config_t *c)
{
  for (size_t g = 0; g < config_grant_count(c); g++)
    if (c->grants[g].hour_count > 0)
      return true;
  return false;
}

/* Each minute, so that a clock that is set is followed. Also those that hours do not end: another grant may
 * count now for their connections, with limits of its own. */
static void judge_hours(sessions_t *all)
{
  unsigned minute = hours_now(NULL);
  if (minute == all->minute)
    return;
  all->minute = minute;
  bool hours = any_hours(all->host->world.config);
  LIST_EACH(session_t, s, &all->list, link) {
    if (s->state == STATE_OPEN && judge_identity(s) == REASON_KEY_EXPIRED)
      session_end(s, REASON_KEY_EXPIRED, NULL);
    if (s->state == STATE_OPEN && hours)
      judge_hours_of(s);
  }
}

void sweep_all(sessions_t *all)
{
  uint64_t now = clock_mono_ms();
  judge_hours(all);
  record_tell_repeats(all, false);
  LIST_EACH(session_t, s, &all->list, link) {
    sweep_one(s, now);
  }
  if (all->rejudged) {
    all->rejudged = false;
    judge_limits(all, REASON_TOO_MANY_SESSIONS, NULL);
  }
}

/* ---- reloads ---- */

/* The user, the key that signed in, and every open connection must still be allowed. */
static bool still_granted(session_t *s)
{
  return judge_identity(s) == REASON_NONE && channel_all_granted(s);
}

size_t sweep_judge_all(sessions_t *all)
{
  size_t ended = 0;
  LIST_EACH(session_t, s, &all->list, link) {
    if (!s->signed_in || s->state == STATE_ENDING)
      continue;
    if (still_granted(s)) {
      terms_set(s);
      continue;
    }
    session_end(s, REASON_POLICY_CHANGED, NULL);
    ended++;
  }
  return ended + judge_limits(all, REASON_POLICY_CHANGED, NULL);
}
