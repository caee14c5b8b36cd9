/* SPDX-License-Identifier: Apache-2.0 */
/* What a local program may send to -D: taken or refused, and what is taken keeps its bounds. */
#include <stdlib.h>
#include <string.h>

#include "tunnel/local/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  socks_t s;
  socks_start(&s);
  socks_step_t step = SOCKS_MORE;
  while (step == SOCKS_MORE && size > 0) {
    if (s.want == 0 || s.want > SOCKS_WANT_MAX)
      abort();
    size_t n = size < s.want ? size : s.want;
    step = socks_take(&s, data, n);
    data += n;
    size -= n;
    if (s.reply_len > SOCKS_REPLY_SIZE)
      abort();
  }
  if (step == SOCKS_TARGET && (s.host[0] == '\0' || s.port == 0 || strlen(s.host) >= FORWARD_TARGET_MAX))
    abort();
  if (step == SOCKS_BAD && !s.fault)
    abort();
  return 0;
}
