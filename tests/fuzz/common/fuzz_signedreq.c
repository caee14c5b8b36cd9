/* SPDX-License-Identifier: Apache-2.0 */
/* The signed fields of a login: what is accepted is exactly what writing them again gives. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/ssh/signedreq.h"

enum { REQUEST_MAX = 4096 }; /* bytes, as both programs let a signature cover */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  signedreq_t req;
  if (size > REQUEST_MAX || signedreq_parse(data, size, &req) != 0)
    return 0;
  uint8_t again[REQUEST_MAX];
  char algorithm[REQUEST_MAX + 1];
  size_t len;
  if (cursor_text(req.algorithm, algorithm, sizeof algorithm) != 0)
    return 0;
  if (signedreq_build(req.session_hash, req.user, algorithm, req.key, again, sizeof again, &len) != 0 ||
      len != size || memcmp(again, data, size) != 0)
    abort();
  return 0;
}
