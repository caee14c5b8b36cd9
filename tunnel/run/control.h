/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of a running tunnel, in a folder that only its user can enter: `status` and `stop` ask
 * there. */
#pragma once

#include <uv.h>

#include "common/base/diag.h"
#include "tunnel/run/carry.h"
#include "tunnel/run/life.h"
#include "tunnel/run/route.h"

/* Where the sockets lie, PID.sock each, into path of cap bytes. The folder is made if wanted; it must be ours
 * and ours alone. SMPL_ENOENT: there is none. */
int control_folder(char *path, size_t cap, bool make, diag_t *diag);

typedef struct control control_t;

/* What it tells of, which must live as long; stop: told so, once the answer is under way. */
typedef struct control_of {
  const life_t *life;
  const routes_t *routes;
  const carry_t *carry;
  void (*stop)(void *ctx);
  void *ctx;
} control_of_t;

/* Ready: from now on it can be asked. NULL: the folder cannot be had, which is said and no reason to end. */
control_t *control_start(uv_loop_t *loop, const control_of_t *of);
/* NULL allowed. */
void control_stop(control_t *control);
