/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/refusal.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/text.h"

exit_code_t refusal_code(reason_t reason)
{
  switch (reason) {
  case REASON_UNKNOWN_NAME:
  case REASON_NO_ADDRESS:
  case REASON_RESOLVER_FAILED:
  case REASON_CONNECTION_REFUSED:
  case REASON_CONNECT_TIMEOUT:
  case REASON_TARGET_UNREACHABLE:
  case REASON_NO_SOURCE_ADDRESS:
  case REASON_NO_SERVICE_PORT:
    return EXIT_UNREACHABLE;
  default:
    return EXIT_REFUSED;
  }
}

void refusal_tell(life_t *life, route_t *route, const char *target, uint16_t port, exit_code_t code,
                  const char *reason, const char *text)
{
  uint64_t now = clock_mono_ms();
  char line[DIAG_TEXT_MAX];
  if (!life->ready || life->task->stdio) {
    if (strstr(text, route->forward->target)) /* the bastion's own words name the target */
      snprintf(line, sizeof line, "%s", text);
    else if (port)
      snprintf(line, sizeof line, "%s:%u: %s", target, port, text);
    else
      snprintf(line, sizeof line, "%s: %s", target, text);
    life_fail(life, code, reason, line);
    return;
  }
  int n = snprintf(line, sizeof route->told, "%s:%u %s", target, port, text); /* as much of it as is kept */
  if (n < 0 || (strcmp(route->told, line) == 0 && now - route->told_at < TUNNEL_REPEAT_MS))
    return;
  text_copy(route->told, sizeof route->told, line);
  route->told_at = now;
  say_refused(life->say, target, port, reason, text);
}

bool refusal_is_there(const char *error)
{
  return strstr(error, "error (") != NULL;
}

exit_code_t refusal_read(const char *error, char *text, size_t cap)
{
  /* "... error (CODE) TEXT"; RFC 4254 §5.1: 1 is prohibited, 2 connect failed. */
  const char *number = strstr(error, "error (");
  const char *words = number ? strchr(number, ')') : NULL;
  bool forbidden = number && number[7] == '1';
  while (words && (*words == ')' || *words == ' '))
    words++;
  if (!words || !*words)
    words = forbidden ? "" : "the target cannot be reached";
  if (forbidden)
    snprintf(text, cap, "the server does not allow it%s%s; its administrator has to allow forwarding there",
             *words ? ": " : "", words);
  else
    snprintf(text, cap, "%s", words);
  return forbidden ? EXIT_REFUSED : EXIT_UNREACHABLE;
}

const char *refusal_with_nearest(const json_t *reply, const char *text, char *buf, size_t cap)
{
  const char *nearest = json_string_value(json_object_get(reply, "nearest"));
  if (!nearest)
    return text;
  snprintf(buf, cap, "%s; did you mean %s?", text, nearest);
  return buf;
}
