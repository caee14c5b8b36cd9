/* SPDX-License-Identifier: Apache-2.0 */
/* From a connected socket to a session whose keys are exchanged. */
#pragma once

#include <libssh/libssh.h>

#include "tunnel/contract/speech.h"

/* Does what start asks, over fd, which is libssh's from then on. Fills in the answer. NULL unless it is fine.
 */
ssh_session exchange_run(const speech_start_t *start, int fd, speech_t *answer);
/* What libssh and OpenSSL read or make at first use: before the walls stand. */
void exchange_warm(void);
