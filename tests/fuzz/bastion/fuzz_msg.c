/* SPDX-License-Identifier: Apache-2.0 */
/* msg_check reads only the bytes that arrived, in every direction, and agrees with msg_length. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/contract/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size > sizeof(msg_t))
    return 0;
  /* Exactly as long as the packet, so that a read behind it is seen. */
  uint8_t *bytes = malloc(size > 0 ? size : 1);
  if (bytes == NULL)
    return 0;
  memcpy(bytes, data, size);
  const msg_t *m = (const msg_t *)(const void *)bytes;
  for (msg_from_t from = MSG_FROM_BROKER_TO_TEMPLATE; from <= MSG_FROM_BROKER_TO_WORKER; from++)
    if (msg_check(m, size, from) == 0 && msg_length(m) != size)
      abort();
  free(bytes);
  return 0;
}
