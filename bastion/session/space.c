/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/space.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

static size_t end_sessions(sessions_t *all, const char *user)
{
  size_t ended = 0;
  LIST_EACH(session_t, s, &all->list, link) {
    if (!s->signed_in || s->state == STATE_ENDING || strcmp(s->who.user, user) != 0)
      continue;
    session_end(s, REASON_AUDIT_RESERVE, NULL);
    ended++;
  }
  return ended;
}

static void end_greediest(sessions_t *all, const char *user, uint64_t free_bytes)
{
  size_t ended = end_sessions(all, user);
  log_warn("audit: %s wrote most of late: %zu sessions end, and no new one starts before there is room again",
           user, ended);
  audit_append(all->host->audit,
               json_pack("{s:s, s:s, s:I, s:I}", "event", "audit-reserve", "user", user, "free_bytes",
                         (json_int_t)free_bytes, "ended", (json_int_t)ended),
               NULL, NULL);
}

static void say_low(sessions_t *all, uint64_t free_bytes)
{
  bool low = usage_is_low(all->host->usage);
  if (low == all->low)
    return;
  all->low = low;
  if (low)
    log_warn("audit: the disk is nearly full: %llu bytes are left, less than audit_reserve (%llu)",
             (unsigned long long)free_bytes, (unsigned long long)all->host->world.config->audit_reserve);
  else
    log_info("audit: there is room on the disk again");
}

void space_judge(void *sessions, uint64_t free_bytes)
{
  sessions_t *all = sessions;
  if (free_bytes == UINT64_MAX)
    return;
  const char *user =
      usage_space(all->host->usage, free_bytes, all->host->world.config->audit_reserve, clock_mono_ms());
  say_low(all, free_bytes);
  if (user != NULL)
    end_greediest(all, user, free_bytes);
}

json_t *space_json(const sessions_t *all, const audit_status_t *a)
{
  json_t *out = json_array();
  size_t at = 0;
  for (const char *user; (user = usage_next_out(all->host->usage, &at)) != NULL;)
    json_array_append_new(out, json_string(user));
  return json_pack("{s:o, s:I, s:b, s:o}", "free_bytes",
                   a->free_bytes != UINT64_MAX ? json_integer((json_int_t)a->free_bytes) : json_null(),
                   "reserve", (json_int_t)all->host->world.config->audit_reserve, "low",
                   usage_is_low(all->host->usage), "out", out);
}
