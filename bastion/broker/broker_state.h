/* SPDX-License-Identifier: Apache-2.0 */
/* The broker as its own files share it: broker.c (start, time, end), reload.c, listener.c, admin*.c (control
 * socket), metrics.c. One thread: the loop's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "bastion/audit/audit_kept.h"
#include "bastion/audit/headsink.h"
#include "bastion/policy/config.h"
#include "bastion/session/session.h"
#include "bastion/spawn/walls.h"
#include "common/conf/command.h"
#include "common/net/control.h"
#include "common/net/metrics_http.h"
#include "common/net/prom_text.h"
#include "common/process/notify.h"

typedef struct broker broker_t;

struct broker {
  uv_loop_t *loop;
  session_host_t host; /* what sessions are given: configuration, audit, policy, workers */
  sessions_t sessions;
  const char *config_path;
  const command_set_t *commands; /* of the control socket */
  config_t *config;              /* in force, as host has it */
  audit_kept_t kept;             /* the audit's head, as state has it */
  uint64_t kept_at;              /* monotonic ms */
  bool keep_failing;
  control_server_t *control;
  metrics_server_t *metrics;
  walls_t walls;    /* the broker's own */
  headsink_t *sink; /* NULL without one */
  notify_t *notify;
  uint64_t alive_at; /* when the service manager was told last */
  list_t listeners;
  bool accepting;
  prom_program_t about;
  char reload_error[DIAG_TEXT_MAX]; /* of the last reload; "" if it took effect */
  uint64_t accepted;
  uint64_t dropped[DOOR_RULES]; /* newcomers closed at once, by the rule */
  uint64_t door_logged_at[DOOR_RULES];
  uint64_t started_at;
  uv_timer_t sweep;
  uv_timer_t soon; /* a sweep in the loop's next turn */
  uv_signal_t signals[3];
  bool watching; /* sweeps and signals are started */
  bool ready_said;
  int exit_status;
};
