/* SPDX-License-Identifier: Apache-2.0 */
/* A process that was forked from this one before it had read a key or made a thread, and does nothing but
 * fork speakers: each has fresh memory in which nothing of the supervisor's, and nothing of another
 * session's, ever stood. There is one speaker at a time: the next one's start is the last one's end. */
#pragma once

#include <sys/types.h>

#include "tunnel/contract/gauge.h"

typedef struct template
{
  pid_t pid; /* 0: none */
  int sock;
  gauge_t *gauge; /* of the speaker that lives */
}
template_t;

/* Forks it. Before threads. SMPL_ESYS. */
int template_start(template_t *t);
/* Makes a speaker and ends the one before; *pair is the caller's: nonblocking, close-on-exec. One thread at a
 * time. SMPL_ESYS, SMPL_ECLOSED. */
int template_spawn(template_t *t, int *pair);
/* Ends the speaker. */
void template_kill(template_t *t);
/* Ends it and its speaker, and waits until both have ended. */
void template_end(template_t *t);
