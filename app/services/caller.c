#include "app/services/caller.h"

#include "app/services/keys.h"
#include "app/services/problem.h"

const char *caller_token(request_t *request)
{
  problem_t problem;
  const char *token = request_bearer(request);
  if (token == NULL) {
    problem_at(&problem, 401, NULL, "send an API key: Authorization: Bearer " KEY_PREFIX "...");
    problem_reply(request, &problem);
    return NULL;
  }
  if (!key_well_formed(token)) {
    problem_at(&problem, 401, NULL, "this is no API key, or it was mistyped: its checksum does not fit");
    problem_reply(request, &problem);
    return NULL;
  }
  return token;
}

void caller_refuse(request_t *request)
{
  problem_t problem;
  problem_at(&problem, 401, NULL, "this API key is not valid, or not any more");
  problem_reply(request, &problem);
}
