/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a session and which message its worker may send in each: the one table. Pure. */
#pragma once

#include "bastion/contract/msg.h"

typedef enum state {
  STATE_SPAWNED,  /* the worker is asked for and has not sealed itself */
  STATE_KEX,      /* sealed; the first key exchange has not been signed */
  STATE_LOGIN,    /* the session id is known; keys are probed and verified */
  STATE_STARTING, /* signed in; the record of its start is on its way to the disk */
  STATE_OPEN,     /* welcome */
  STATE_ENDING,   /* told to end; what is still under way comes in */
  STATE_COUNT
} state_t;

typedef enum verdict {
  VERDICT_VIOLATION, /* the session ends: worker-misbehaved */
  VERDICT_ALLOW,
  VERDICT_REFUSE, /* possible without ill will; answered with no */
  VERDICT_IGNORE, /* sent before the worker knew of the end */
} verdict_t;

/* For types that a worker sends; VERDICT_VIOLATION for all others. */
verdict_t state_verdict(state_t state, msg_type_t type);
const char *state_name(state_t state);
