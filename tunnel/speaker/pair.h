/* SPDX-License-Identifier: Apache-2.0 */
/* The speaker's end of what it has in common with the supervisor. The supervisor always reads, so sending
 * waits; a supervisor that is gone, or breaks the contract, ends the process. */
#pragma once

#include <stdnoreturn.h>

#include "tunnel/contract/speech.h"

enum {
  /* Descriptors by number: so the walls can name them. */
  SPEAKER_VOID_FD = 3, /* /dev/null */
  SPEAKER_PAIR_FD = 4,
};

noreturn void pair_end(void);

/* m is sent. */
void pair_tell(const speech_t *m);
/* The next message, waited for. *fd as speech_receive gives it. */
void pair_hear(speech_t *m, int *fd);
/* The same if one is there. */
bool pair_look(speech_t *m, int *fd);

/* What a text of a server's becomes in a message: cut where it does not fit. */
void pair_text(char *out, size_t cap, const char *text);
