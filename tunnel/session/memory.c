/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/memory.h"

void memory_init(memory_t *memory)
{
  *memory = (memory_t){.key = NULL};
  prompt_init(&memory->prompt);
}

void memory_forget_key(memory_t *memory)
{
  ssh_key_free(memory->key);
  ssh_key_free(memory->certificate);
  memory->key = memory->certificate = NULL;
}

void memory_clear(memory_t *memory)
{
  memory_forget_key(memory);
  ssh_key_free(memory->host_key);
  memory->host_key = NULL;
}
