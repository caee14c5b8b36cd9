/* SPDX-License-Identifier: Apache-2.0 */
/* Executes templates. A process of its own, forked before the configuration is read and before the broker
 * gives up root. It keeps the rights of root that the templates need, to give each worker a uid and an empty
 * root. It reads nothing but three kinds of message from the broker, and ends with it. The broker itself can
 * then be anybody (account.h). */
#pragma once

#include <uv.h>

#include "bastion/limits.h"
#include "common/base/diag.h"

enum {
  LAUNCHER_SOCK_FD = 3, /* where a template finds its socket to the broker */
};

typedef struct launcher launcher_t;

typedef struct launcher_events {
  /* status as waitpid gives it. */
  void (*on_exited)(void *ctx, int pid, int status);
  /* The launcher ended by itself: no template can be started or killed any more. */
  void (*on_gone)(void *ctx);
  void *ctx;
} launcher_events_t;

/* Forks it. While the process has one thread. program is the path of smpl-bastion-worker; *sock is the
 * caller's end. */
int launcher_fork(const char *program, int *sock, diag_t *diag);

/* Takes sock over, also on failure. */
int launcher_new(uv_loop_t *loop, int sock, launcher_t **out);
/* From then on; none before. */
void launcher_listen(launcher_t *launcher, const launcher_events_t *events);
/* A template with sock as its LAUNCHER_SOCK_FD and log_fd as its standard error; both stay the caller's.
 * Waits until it is executed; *error is why it cannot be (SMPL_ESYS). */
int launcher_launch(launcher_t *launcher, int sock, int log_fd, int *pid, int *error);
/* SIGKILL, if it is one of its templates and has not ended. */
void launcher_kill(launcher_t *launcher, int pid);
/* It ends; the templates do so with their own sockets. NULL allowed. */
void launcher_close(launcher_t *launcher);
