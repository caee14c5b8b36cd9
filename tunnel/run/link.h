/* SPDX-License-Identifier: Apache-2.0 */
/* The session that stands, as those see it who use it. All NULL: none stands. */
#pragma once

#include <libssh/libssh.h>
#include <stdint.h>

#include "common/ssh/ssh_pump.h"
#include "tunnel/session/ask.h"

typedef struct link {
  ssh_session ssh;
  ssh_pump_t *pump;
  ask_t *ask;
  uint32_t asked_channels; /* in this session: bastion and tunnel count them alike */
} link_t;
