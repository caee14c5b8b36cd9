/* SPDX-License-Identifier: Apache-2.0 */
/* The first steps of every program of ours. */
#pragma once

#include <stdbool.h>

/* No core dumps and no ptrace by the same user (invariant 8), unless harden_core_dumps was told otherwise;
 * SIGPIPE ignored. Returns 0 or SMPL_ESYS. */
int harden_process(void);

/* What the configuration says (core_dumps), once, before threads start. wanted: a crash leaves a core dump,
 * as far as the system lets it (LimitCORE=, core_pattern), with all secrets that the program has in memory.
 * Otherwise none can be had any more. If the limit that the process was started with allows none, the log has
 * a warning. */
void harden_core_dumps(bool wanted);
