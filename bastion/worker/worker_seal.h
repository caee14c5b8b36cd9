/* SPDX-License-Identifier: Apache-2.0 */
/* The walls around a worker. The template puts up the common walls once (namespaces, empty root, Landlock, a
 * first filter of system calls), and workers inherit them. Each worker puts up the rest for itself, before
 * the first byte of its peer. */
#pragma once

#include <stdint.h>

#include "bastion/limits.h"
#include "common/base/diag.h"

/* A worker's descriptors, beside the standard ones. */
enum { WORKER_PAIR_FD = 3, WORKER_CLIENT_FD = 4 };

/* Template, after its libraries are warm: nothing can be opened or connected afterwards. Best effort; *walls
 * gets the MSG_WALL_ bits that stand. As root a missing empty root is an error (SMPL_ESYS). */
int worker_seal_template(uint32_t *walls, diag_t *diag);

/* Worker, with descriptors 0..4 open and no others: own uid (as root), limits, no new privileges, seccomp.
 * Every one of them must stand, else SMPL_ESYS. channels_max: how many descriptors the broker may pass.
 * *walls gains its bits. */
int worker_seal(uint32_t channels_max, uint32_t *walls, diag_t *diag);
