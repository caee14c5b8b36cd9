/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/memory.h"

void memory_init(memory_t *memory)
{
  *memory = (memory_t){.key = NULL};
  prompt_init(&memory->prompt);
}

void memory_clear(memory_t *memory)
{
  ssh_key_free(memory->key);
  ssh_key_free(memory->host_key);
  memory->key = NULL;
  memory->host_key = NULL;
}
