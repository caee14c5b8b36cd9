/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives a session, so that the next one asks nobody anything. */
#pragma once

#include <libssh/libssh.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tunnel/limits.h"
#include "tunnel/session/prompt.h"

/* One thread at a time. */
typedef struct memory {
  prompt_t prompt;
  ssh_key key;         /* the one that was accepted */
  ssh_key certificate; /* with which; NULL: none */
  char key_path[PATH_TEXT_MAX];
  ssh_key host_key; /* the one that was confirmed but could not be written down */
  bool told;        /* what of ssh_config is not heeded */
  bool again;       /* a session has stood before: nobody is asked anything, the user may not be there */
  atomic_int group; /* of the program that ssh_config has us run; 0: none runs. Any thread */
} memory_t;

void memory_init(memory_t *memory);
void memory_forget_key(memory_t *memory);
void memory_clear(memory_t *memory);
