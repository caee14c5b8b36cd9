/* SPDX-License-Identifier: Apache-2.0 */
/* What smpl-tunnel never needs, and so cannot do once it speaks to the bastion: its libssh takes apart what a
 * stranger sends. */
#pragma once

#include "tunnel/base/say.h"

/* System calls, for every thread and every program that is started from then on (ssh -G, ssh-keygen,
 * ProxyCommand); what was made before (later.h) has none of it. A kernel without seccomp is a note. */
void walls_seal(say_t *say);
