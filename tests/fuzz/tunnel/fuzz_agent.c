/* SPDX-License-Identifier: Apache-2.0 */
/* An agent's answer to "which keys": what is taken of it stands within what came. */
#include <libssh/libssh.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/session/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static bool started;
  static agent_key_t keys[AGENT_KEYS_MAX];
  size_t count = 0;
  if (!started)
    ssh_init();
  started = true;
  agent_read_keys(data, size, keys, &count);
  for (size_t i = 0; i < count; i++) {
    const agent_key_t *k = &keys[i];
    if (k->entry.data < data || k->entry.len > size || k->entry.data + k->entry.len > data + size ||
        strlen(k->name) >= sizeof k->name)
      abort();
    ssh_key_free(k->key);
  }
  return 0;
}
