/* SPDX-License-Identifier: Apache-2.0 */
/* What users may hold of what all share (common/base/share.h): sessions of the connections there are,
 * forwarded connections of the descriptors. */
#include <string.h>

#include "bastion/broker/broker_state.h"
#include "common/base/share.h"

enum {
  FEW_SESSIONS = 4, /* a user with fewer may have the last place; of more, so many count as one */
  CHANNEL_PART =
      2, /* a user holds at most half of the forwarded connections that are left: a third while he is alone */
  DESCRIPTORS_OWN = 200, /* listeners, files, control socket, templates, questions to DNS */
  DESCRIPTORS_SESSION = 4,
  CHANNELS_MIN = 16, /* of all users, however few descriptors there are */
};

static bool is_of(const session_t *s, const char *user)
{
  return s->signed_in && strcmp(s->user, user) == 0;
}

reason_t session_judge_shares(const session_t *s)
{
  const broker_t *b = s->broker;
  const limits_conf_t *limits = &b->config->limits;
  size_t own = 0, all = 0;
  for (const session_t *o = b->sessions; o != NULL; o = o->next) {
    own += is_of(o, s->user);
    all += o->signed_in;
  }
  if (own >= limits->sessions_per_user)
    return REASON_TOO_MANY_SESSIONS;
  return share_allows(own / FEW_SESSIONS, all, limits->connections, 1) ? REASON_NONE
                                                                       : REASON_TOO_MANY_CONNECTIONS;
}

/* While one is opened it may have as many as OPENING_ATTEMPTS_MAX descriptors. */
size_t session_channels_max(const broker_t *b)
{
  uint64_t others = DESCRIPTORS_OWN + DESCRIPTORS_SESSION * b->config->limits.connections;
  uint64_t left = b->descriptors > others ? (b->descriptors - others) / OPENING_ATTEMPTS_MAX : 0;
  return left > CHANNELS_MIN ? (size_t)left : CHANNELS_MIN;
}

uint64_t session_descriptors_needed(const config_t *c)
{
  return DESCRIPTORS_OWN + DESCRIPTORS_SESSION * (uint64_t)c->limits.connections +
         (uint64_t)CHANNELS_MIN * OPENING_ATTEMPTS_MAX;
}

bool session_may_open(const session_t *s)
{
  const broker_t *b = s->broker;
  size_t own = 0, most = session_channels_max(b);
  if (b->channels_held < most / 4) /* as good as always */
    return true;
  for (const session_t *o = b->sessions; o != NULL; o = o->next)
    own += is_of(o, s->user) ? o->channel_count : 0;
  return share_allows(own, b->channels_held, most, CHANNEL_PART);
}
