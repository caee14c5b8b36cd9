/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-control: a channel of the session that carries lines, for the supervisor. A plain SSH server has no
 * such subsystem. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>

#include "common/ssh/ssh_pump.h"
#include "tunnel/contract/speech.h"

typedef struct lines {
  ssh_session session;
  ssh_pump_t *pump;
  ssh_channel channel; /* NULL: there is none, or the pump has it */
  ssh_pump_channel_t *carried;
  bool opened;    /* the channel, not yet the subsystem */
  uint64_t until; /* for it to open */
} lines_t;

/* It opens while lines_step is called. */
void lines_start(lines_t *lines, ssh_session session, ssh_pump_t *pump);
/* After every turn of the pump. */
void lines_step(lines_t *lines);
/* Whether lines_step has a time limit to look at. */
bool lines_wait(const lines_t *lines);
void lines_ask(lines_t *lines, const speech_bytes_t *line);
