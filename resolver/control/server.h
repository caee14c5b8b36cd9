/* SPDX-License-Identifier: Apache-2.0 */
/* The running resolver: the main thread's loop (signals, control socket), the workers, the reload. */
#pragma once

#include <jansson.h>

#include "common/base/diag.h"
#include "common/conf/command.h"
#include "common/net/control.h"

typedef struct server server_t;

/* What rows of commands begin with. */
typedef struct server_command {
  command_row_t row;
  /* Answers a request over the control socket; NULL where row.role is above SERVER_ROLE. */
  void (*answer)(server_t *server, control_request_t *request, const json_t *body);
} server_command_t;

/* The role of whoever reaches the control socket: its file mode lets nobody in who may not ask everything. */
enum { SERVER_ROLE = 1 };

/* Serves until SIGTERM or SIGINT. commands: rows that begin with server_command_t. 0 after a clean end;
 * otherwise diag says why it could not start. Main thread. */
int server_run(const char *config, const command_set_t *commands, diag_t *diag);

void server_answer_status(server_t *server, control_request_t *request, const json_t *body);
void server_answer_zones(server_t *server, control_request_t *request, const json_t *body);
void server_answer_stats(server_t *server, control_request_t *request, const json_t *body);
void server_answer_reload(server_t *server, control_request_t *request, const json_t *body);
void server_answer_explain(server_t *server, control_request_t *request, const json_t *body);
void server_answer_matrix(server_t *server, control_request_t *request, const json_t *body);
