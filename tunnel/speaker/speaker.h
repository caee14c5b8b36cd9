/* SPDX-License-Identifier: Apache-2.0 */
/* The process that speaks SSH with the bastion, and holds nothing else: no key, no file, no terminal. One
 * session each. */
#pragma once

#include <stdnoreturn.h>

#include "tunnel/contract/gauge.h"

/* In the forked process, with SPEAKER_VOID_FD and SPEAKER_PAIR_FD in their places and nothing else open but
 * the standard three, which it lets go of. */
noreturn void speaker_run(gauge_t *gauge);
