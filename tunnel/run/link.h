/* SPDX-License-Identifier: Apache-2.0 */
/* The session that stands, as those see it who use it. All NULL: none stands. */
#pragma once

#include <stdint.h>

#include "tunnel/session/ask.h"
#include "tunnel/session/talk.h"

typedef struct link {
  talk_t *talk;
  ask_t *ask;
  uint32_t asked_channels; /* in this session: bastion and tunnel count them alike */
} link_t;
