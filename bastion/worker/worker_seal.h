/* SPDX-License-Identifier: Apache-2.0 */
/* The walls around a worker. What all workers share (namespaces, empty root, Landlock) is put up once by the
 * template and inherited, with a first filter of system calls; the rest each worker puts up for itself,
 * before the first byte of its peer. */
#pragma once

#include <stdint.h>

#include "common/base/diag.h"

enum {
  WORKER_OWN_FDS = 5, /* before any channel: standard ones, the pair, the client */
  /* Bytes of address space: libraries and libssh's buffers, then what a stalled channel may hold. */
  WORKER_MEMORY_BASE = 192 << 20,
  WORKER_MEMORY_CHANNEL = 3 << 20,
};

/* Template, after its libraries are warm: nothing can be opened or connected afterwards. Best effort; *walls
 * gets the MSG_WALL_ bits that stand. As root a missing empty root is an error (SMPL_ESYS). */
int worker_seal_template(uint32_t *walls, diag_t *diag);

/* Worker, with descriptors 0..4 open and no others: own uid (as root), limits, no new privileges, seccomp.
 * Every one of them must stand, else SMPL_ESYS. channels_max: how many descriptors the broker may pass.
 * *walls gains its bits. */
int worker_seal(uint32_t channels_max, uint32_t *walls, diag_t *diag);
