/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/caller.h"

#include <stdio.h>

#include "app/http/keys.h"
#include "app/services/reply.h"
#include "common/base/clock.h"

const char *caller_token(request_t *request)
{
  problem_t problem;
  const char *token = request_bearer(request);
  if (token == NULL) {
    problem_at(&problem, 401, NULL, KEY_MISSING_TEXT);
    problem_reply(request, &problem);
    return NULL;
  }
  if (!key_well_formed(token)) {
    problem_at(&problem, 401, NULL, KEY_MALFORMED_TEXT);
    problem_reply(request, &problem);
    return NULL;
  }
  return token;
}

bool caller_within_rate(rates_t *rates, request_t *request, const caller_t *caller)
{
  rate_t rate;
  if (rates == NULL || !rates_limit(rates) || request_is_rated(request))
    return true;
  bool within = rates_take(rates, caller->key_id, clock_mono_us(), &rate);
  request_set_rate(request, &rate);
  if (within)
    return true;
  char seconds[16];
  snprintf(seconds, sizeof seconds, "%u", rate.wait_s);
  request_set_header(request, "Retry-After", seconds);
  request_reply_error(request, 429, "Too many requests", NULL, NULL,
                      "this API key may send no more than %u requests at once; try again in %u s", rate.limit,
                      rate.wait_s);
  return false;
}

void caller_refuse(request_t *request)
{
  problem_t problem;
  problem_at(&problem, 401, NULL, "this API key is not valid, or not any more");
  problem_reply(request, &problem);
}
