/* SPDX-License-Identifier: Apache-2.0 */
/* What a speaker that was taken over may send: form and order, and what it wants to have signed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/contract/speech.h"
#include "tunnel/session/permit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  static speech_t m;
  permit_t permit = {.user = "dev"};
  signedreq_t request;
  if (len > sizeof m)
    return 0;
  memcpy(&m, data, len);
  for (speech_from_t from = SPEECH_FROM_SUPERVISOR; from <= SPEECH_FROM_SPEAKER; from++) {
    if (speech_check(&m, len, from) != 0)
      continue;
    if (speech_length(&m) != len)
      abort();
    for (speech_state_t state = 0; state < SPEECH_STATES; state++) {
      if (speech_may(state, (speech_type_t)m.h.type) && from != SPEECH_FROM_SPEAKER)
        abort();
    }
    cursor_t bytes = {m.bytes.bytes, m.h.type == SPEECH_SIGN ? m.bytes.len : 0};
    if (permit_allows(&permit, bytes, (cursor_t){(const uint8_t *)"key", 3}, &request) &&
        strcmp(request.user, "dev") != 0)
      abort();
  }
  return 0;
}
