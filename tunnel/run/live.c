/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/live.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/error.h"

struct live {
  const life_t *life;
  const link_t *link;
  const carry_t *carry;
  uv_timer_t second;
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
  live_t *l = ctx;
  if (!json_is_true(json_object_get(reply, "ok")))
    return;
  l->told_at = clock_mono_ms();
  l->session_left = left_of(reply, "session_left_s");
  l->idle_left = left_of(reply, "idle_left_s");
}

static void ask_limits(live_t *l)
{
  uint64_t now = clock_mono_ms();
  ask_t *ask = l->link->ask;
  if (!ask || ask_state(ask) != ASK_READY || now - l->asked_at < LIVE_ASK_S * 1000ULL)
    return;
  l->asked_at = now;
  ask_question(ask, json_pack("{s:s}", "cmd", "limits"), on_limits, l);
}

static void add_time(const live_t *l, char *line, size_t used, size_t cap)
{
  char text[48];
  if (l->told_at == 0 || l->session_left < 0)
    return;
  int64_t gone = (int64_t)((clock_mono_ms() - l->told_at) / 1000);
  snprintf(line + used, cap - used, ", %s left", live_time(l->session_left - gone, text, sizeof text));
}

static void draw_up(live_t *l, uint64_t now)
{
  uint64_t up;
  uint64_t down;
  char up_text[32];
  char down_text[32];
  char line[SAY_LIVE_MAX];
  carry_bytes(l->carry, &up, &down);
  uint64_t ms = now > l->drawn_at ? now - l->drawn_at : 1;
  size_t count = carry_count_in(l->carry, CONNECTION_CARRIED);
  int n = snprintf(line, sizeof line, "connected, %zu connection%s, up %s, down %s", count,
                   count == 1 ? "" : "s", live_rate((up - l->up) * 1000 / ms, up_text, sizeof up_text),
                   live_rate((down - l->down) * 1000 / ms, down_text, sizeof down_text));
  add_time(l, line, n > 0 ? (size_t)n : 0, sizeof line);
  l->up = up;
  l->down = down;
  l->drawn_at = now;
  say_live(l->life->say, line);
}

void live_update(live_t *l)
{
  char line[SAY_LIVE_MAX];
  char since[48];
  if (!l)
    return;
  uint64_t now = clock_mono_ms();
  if (l->life->state == LIFE_UP) {
    ask_limits(l);
    if (now - l->drawn_at >= 500) /* a rate over less says little */
      draw_up(l, now);
    return;
  }
  snprintf(line, sizeof line, "no connection for %s, %s, %zu held",
           live_time((int64_t)((now - l->life->lost_at) / 1000), since, sizeof since),
           l->life->state == LIFE_WAITING ? "waiting for the next try" : "connecting",
           carry_count_in(l->carry, CONNECTION_HELD));
  say_live(l->life->say, line);
}

static void on_second(uv_timer_t *timer)
{
  live_update(timer->data);
}

static live_t *make(uv_loop_t *loop, const life_t *life, const link_t *link, const carry_t *carry)
{
  live_t *l = calloc(1, sizeof *l);
  if (!l)
    return NULL;
  l->life = life;
  l->link = link;
  l->carry = carry;
  uv_timer_init(loop, &l->second);
  l->second.data = l;
  uv_timer_start(&l->second, on_second, 1000, 1000);
  return l;
}

void live_start(live_t **live, uv_loop_t *loop, const life_t *life, const link_t *link, const carry_t *carry)
{
  if (!life->say->live || life->task->stdio || life->task->exec)
    return;
  if (!*live)
    *live = make(loop, life, link, carry);
  if (!*live)
    return;
  (*live)->asked_at = clock_mono_ms() - LIVE_ASK_S * 1000ULL; /* with the next line */
  live_update(*live);
}

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

void live_free(live_t *l)
{
  if (l)
    uv_close((uv_handle_t *)&l->second, on_closed);
}
