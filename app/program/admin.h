/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of a running service: status and reload. Everybody whom the socket's file mode lets in
 * may ask. Loop's thread. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "app/program/reload.h"
#include "common/net/control.h"
#include "common/base/diag.h"
#include "common/conf/command.h"

/* What status tells; read when it is asked for, and borrowed. */
typedef struct admin {
  const char *config;
  const service_t *service;
  const program_t *program;
  reload_t *reload;
  const command_set_t *commands; /* admin_command_t */
} admin_t;

enum { ADMIN_ROLE = 1 }; /* of whoever may open the socket: its file mode decides who that is */

typedef struct admin_command {
  command_row_t row;
  /* Leads to one reply, now or later. NULL where row.role is above ADMIN_ROLE. */
  void (*answer)(const admin_t *admin, control_request_t *request);
} admin_command_t;

void admin_status(const admin_t *admin, control_request_t *request);
void admin_reload(const admin_t *admin, control_request_t *request);

/* SMPL_EBUSY when another process answers there. */
int admin_open(uv_loop_t *loop, const char *path, admin_t *admin, control_server_t **out, diag_t *diag);
