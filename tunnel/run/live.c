/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/live.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/error.h"

struct live {
  uint64_t up, down; /* when last drawn */
  uint64_t drawn_at;
  uint64_t asked_at;
  uint64_t told_at;                   /* when the time left was told; 0: never */
  json_int_t session_left, idle_left; /* seconds; -1: no limit */
};

char *live_rate(uint64_t bytes, char *buf, size_t cap)
{
  static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s"};
  size_t unit = 0;
  double value = (double)bytes;
  while (value >= 1000 && unit + 1 < sizeof units / sizeof *units) {
    value /= 1000;
    unit++;
  }
  snprintf(buf, cap, unit > 0 && value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return buf;
}

char *live_time(int64_t s, char *buf, size_t cap)
{
  if (s < 0)
    s = 0;
  if (s >= 3600)
    snprintf(buf, cap, "%" PRId64 " h %02" PRId64 " min", s / 3600, s % 3600 / 60);
  else if (s >= 60)
    snprintf(buf, cap, "%" PRId64 " min %02" PRId64 " s", s / 60, s % 60);
  else
    snprintf(buf, cap, "%" PRId64 " s", s);
  return buf;
}

static json_int_t left_of(const json_t *reply, const char *key)
{
  const json_t *value = json_object_get(reply, key);
  return json_is_integer(value) ? json_integer_value(value) : -1;
}

static void on_limits(void *ctx, const json_t *reply)
{
  tunnel_t *t = ctx;
  struct live *l = t->live;
  if (!l || !json_is_true(json_object_get(reply, "ok")))
    return;
  l->told_at = clock_mono_ms();
  l->session_left = left_of(reply, "session_left_s");
  l->idle_left = left_of(reply, "idle_left_s");
}

static void ask_limits(tunnel_t *t)
{
  struct live *l = t->live;
  uint64_t now = clock_mono_ms();
  if (!t->ask || ask_state(t->ask) != ASK_READY || now - l->asked_at < LIVE_ASK_S * 1000ULL)
    return;
  l->asked_at = now;
  ask_question(t->ask, json_pack("{s:s}", "cmd", "limits"), on_limits, t);
}

static size_t add_time(const tunnel_t *t, char *line, size_t used, size_t cap)
{
  const struct live *l = t->live;
  char text[48];
  if (l->told_at == 0 || l->session_left < 0)
    return used;
  int64_t gone = (int64_t)((clock_mono_ms() - l->told_at) / 1000);
  int n =
      snprintf(line + used, cap - used, ", %s left", live_time(l->session_left - gone, text, sizeof text));
  return n > 0 ? used + (size_t)n : used;
}

static void draw_up(tunnel_t *t, uint64_t now)
{
  struct live *l = t->live;
  uint64_t up;
  uint64_t down;
  char up_text[32];
  char down_text[32];
  char line[SAY_LIVE_MAX];
  carry_bytes(t, &up, &down);
  uint64_t ms = now > l->drawn_at ? now - l->drawn_at : 1;
  size_t count = t->lists[CONNECTION_CARRIED].count;
  int n = snprintf(line, sizeof line, "connected, %zu connection%s, up %s, down %s", count,
                   count == 1 ? "" : "s", live_rate((up - l->up) * 1000 / ms, up_text, sizeof up_text),
                   live_rate((down - l->down) * 1000 / ms, down_text, sizeof down_text));
  add_time(t, line, n > 0 ? (size_t)n : 0, sizeof line);
  l->up = up;
  l->down = down;
  l->drawn_at = now;
  say_live(t->say, line);
}

void live_update(tunnel_t *t)
{
  char line[SAY_LIVE_MAX];
  char since[48];
  if (!t->live)
    return;
  uint64_t now = clock_mono_ms();
  if (t->state == TUNNEL_UP) {
    ask_limits(t);
    if (now - t->live->drawn_at >= 500) /* a rate over less says little */
      draw_up(t, now);
    return;
  }
  snprintf(line, sizeof line, "no connection for %s, %s, %zu held",
           live_time((int64_t)((now - t->lost_at) / 1000), since, sizeof since),
           t->state == TUNNEL_WAITING ? "waiting for the next try" : "connecting",
           t->lists[CONNECTION_HELD].count);
  say_live(t->say, line);
}

void live_start(tunnel_t *t)
{
  if (!t->say->live || t->task->stdio || t->task->exec)
    return;
  if (!t->live)
    t->live = calloc(1, sizeof *t->live);
  if (!t->live)
    return;
  t->live->asked_at = clock_mono_ms() - LIVE_ASK_S * 1000ULL; /* with the next line */
  tunnel_tick(t);
  live_update(t);
}

void live_free(tunnel_t *t)
{
  free(t->live);
  t->live = NULL;
}
