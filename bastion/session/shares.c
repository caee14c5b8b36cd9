/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/shares.h"

#include <string.h>

#include "common/base/share.h"

static bool is_of(const session_t *s, const char *user)
{
  return s->signed_in && strcmp(s->who.user, user) == 0;
}

reason_t shares_judge(const session_t *s)
{
  const sessions_t *all = s->all;
  const limits_conf_t *limits = &all->host->world.config->limits;
  size_t own = 0, everybody = 0;
  LIST_EACH(const session_t, o, &all->list, link) {
    own += is_of(o, s->who.user);
    everybody += o->signed_in;
  }
  if (own >= limits->sessions_per_user)
    return REASON_TOO_MANY_SESSIONS;
  return share_allows(own / SHARES_FEW_SESSIONS, everybody, limits->connections, 1)
             ? REASON_NONE
             : REASON_TOO_MANY_CONNECTIONS;
}

/* While one is opened it may have as many as OPENING_ATTEMPTS_MAX descriptors. */
size_t shares_channels_max(const sessions_t *all)
{
  uint64_t others =
      SHARES_DESCRIPTORS_OWN + SHARES_DESCRIPTORS_SESSION * all->host->world.config->limits.connections;
  uint64_t left =
      all->host->descriptors > others ? (all->host->descriptors - others) / OPENING_ATTEMPTS_MAX : 0;
  return left > SHARES_CHANNELS_MIN ? (size_t)left : SHARES_CHANNELS_MIN;
}

uint64_t shares_descriptors_needed(const config_t *c)
{
  return SHARES_DESCRIPTORS_OWN + SHARES_DESCRIPTORS_SESSION * (uint64_t)c->limits.connections +
         (uint64_t)SHARES_CHANNELS_MIN * OPENING_ATTEMPTS_MAX;
}

bool shares_may_open(const session_t *s)
{
  const sessions_t *all = s->all;
  size_t own = 0, most = shares_channels_max(all);
  if (all->channels_held < most / 4) /* as good as always */
    return true;
  LIST_EACH(const session_t, o, &all->list, link)
    own += is_of(o, s->who.user) ? o->traffic.count : 0;
  return share_allows(own, all->channels_held, most, SHARES_CHANNEL_PART);
}
