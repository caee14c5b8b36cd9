/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of a running service: status and reload. Whoever the socket's file mode lets in may
 * ask. Loop's thread. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "app/program/reload.h"
#include "common/net/control.h"
#include "common/base/diag.h"

/* What status tells; read when it is asked for, and borrowed. */
typedef struct admin {
  const char *config;
  const service_t *service;
  const program_t *program;
  reload_t *reload;
} admin_t;

/* SMPL_EBUSY when another process answers there. */
int admin_open(uv_loop_t *loop, const char *path, admin_t *admin, control_server_t **out, diag_t *diag);
