/* SPDX-License-Identifier: Apache-2.0 */
/* Channels to targets: opened for the supervisor, then the pump's. */
#pragma once

#include <libssh/libssh.h>

#include "common/base/list.h"
#include "common/ssh/ssh_pump.h"
#include "tunnel/contract/speech.h"

typedef struct channels {
  ssh_session session;
  ssh_pump_t *pump;
  list_t opening;
  uint64_t opened_by; /* bytes received when openings were last looked at */
  bool over;          /* the session is: who ends now is not told */
} channels_t;

void channels_start(channels_t *channels, ssh_session session, ssh_pump_t *pump);
/* Takes over fd; -1: it is only tried, and let go again. */
void channels_open(channels_t *channels, const speech_open_t *m, int fd);
void channels_give_up(channels_t *channels, uint32_t number);
/* After every turn of the pump. */
void channels_step(channels_t *channels);
