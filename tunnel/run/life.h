/* SPDX-License-Identifier: Apache-2.0 */
/* How far the tunnel is, and how it ends.
 *
 *   CONNECTING   a session is being opened            -> LEARNING, WAITING, OVER
 *   LEARNING     the first one stands; names and ports are asked for, targets are checked   -> UP, WAITING,
 * OVER UP           connections are carried              -> WAITING, OVER WAITING      the session is lost;
 * the next try comes when time is over, when somebody connects, or when the machine woke -> CONNECTING, OVER
 *   OVER         told to end, refused for good, or failed before it was ever UP
 *
 * A session that replaces a lost one is UP at once. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/diag.h"
#include "tunnel/base/exit.h"
#include "tunnel/base/say.h"
#include "tunnel/run/task.h"

typedef enum life_state { LIFE_CONNECTING, LIFE_LEARNING, LIFE_UP, LIFE_WAITING, LIFE_OVER } life_state_t;

typedef struct life {
  const task_t *task;
  say_t *say;
  life_state_t state;
  bool ready;       /* it has been UP */
  size_t asking;    /* questions and checks that stand between us and ready */
  uint64_t up_at;   /* when the session stood */
  uint64_t lost_at; /* when it was lost */
  char bastion[USER_MAX + HOST_MAX + 16];
  exit_code_t code;
  char reason[64];
  diag_t diag;
} life_t;

/* It is over, with this; the first call counts. reason NULL: none. */
void life_fail(life_t *life, exit_code_t code, const char *reason, const char *text);
/* It is over, as asked. */
void life_stop(life_t *life);
/* "up" */
const char *life_name(life_state_t state);
