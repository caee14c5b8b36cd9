/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/backoff.h"

uint64_t backoff_ms(unsigned number, uint32_t random)
{
  if (number == 0)
    return random % (BACKOFF_FIRST_MS + 1);
  uint64_t most = BACKOFF_BASE_MS;
  for (unsigned i = 1; i < number && most < BACKOFF_MAX_MS; i++)
    most *= 2;
  if (most > BACKOFF_MAX_MS)
    most = BACKOFF_MAX_MS;
  return most / 2 + random % (most / 2 + 1);
}
