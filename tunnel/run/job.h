/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that ask the bastion something instead of forwarding: ls, whoami, why; and the list of targets
 * that shells complete from. */
#pragma once

#include "tunnel/run/life.h"
#include "tunnel/run/link.h"

typedef struct job job_t;

extern const job_t job_ls, job_whoami, job_why;

/* What a job has to do with; it must live as long as its questions. */
typedef struct job_of {
  life_t *life; /* whose task has the job */
  const link_t *link;
} job_of_t;

/* The session stands: asks. Ends the tunnel with the answer. */
void job_ask(const job_of_t *of);

/* Keeps the names that may be reached for the shell's completion, if the bastion tells them. */
void job_refresh_targets(ask_t *ask);
/* Prints what was kept, a name a line. */
void job_print_targets(void);
