/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/alive.h"

void alive_start(alive_t *a, uint64_t ask_ms, uint64_t dead_ms, uint64_t now)
{
  *a = (alive_t){.ask_ms = ask_ms ? ask_ms : ALIVE_ASK_MS, .dead_ms = dead_ms ? dead_ms : ALIVE_DEAD_MS};
  if (a->dead_ms <= a->ask_ms)
    a->dead_ms = a->ask_ms + ALIVE_WOKE_MS;
  a->seen_at = now;
}

static alive_verdict_t ask(alive_t *a, uint64_t dead_at)
{
  a->dead_at = dead_at;
  a->woke = false;
  return ALIVE_ASK;
}

alive_verdict_t alive_judge(alive_t *a, uint64_t received, uint64_t now)
{
  if (received != a->bytes) {
    a->bytes = received;
    a->seen_at = now;
    a->dead_at = 0;
  }
  if (a->woke)
    return ask(a, now + ALIVE_WOKE_MS);
  if (a->dead_at)
    return now >= a->dead_at ? ALIVE_DEAD : ALIVE_FINE;
  if (now - a->seen_at < a->ask_ms)
    return ALIVE_FINE;
  /* Asked late, an answer still gets the time that it was to have. */
  uint64_t due = a->seen_at + a->dead_ms;
  uint64_t fair = now + (a->dead_ms - a->ask_ms) / 2;
  return ask(a, due > fair ? due : fair);
}

void alive_woke(alive_t *a)
{
  a->woke = true;
}

uint64_t alive_wait(const alive_t *a, uint64_t now)
{
  if (a->woke)
    return 0;
  uint64_t at = a->dead_at ? a->dead_at : a->seen_at + a->ask_ms;
  return at > now ? at - now : 0;
}
