/* SPDX-License-Identifier: Apache-2.0 */
/* What runs beside the tunnel: a program that the tunnel is for (-- COMMAND), standard input and output as a
 * connection
 * (--stdio), the browser (--open). */
#pragma once

#include <stdbool.h>

#include "tunnel/run/tunnel_state.h"

enum { /* exit statuses, as shells say it */
       CHILD_NOT_FOUND = 127,
       CHILD_NOT_EXECUTABLE = 126,
};

/* Once the local ports are bound, and before the walls stand: makes the processes that the program and the
 * browser will run in, with SMPL_TUNNEL_URL and so on in the program's environment. */
void child_prepare(tunnel_t *t);
/* Runs the program with SMPL_TUNNEL_URL and so on in its environment. */
void child_start(tunnel_t *t);
/* SIGCHLD: if the program has ended, so has the tunnel, with its status. */
void child_look(tunnel_t *t);
/* A signal that wants us to end goes to the program, if one runs: the tunnel ends with it. False: none runs.
 */
bool child_signal(tunnel_t *t, int number);
/* The tunnel is over: the program is not left without it. */
void child_end(tunnel_t *t);
void child_free(tunnel_t *t);

/* After the connection has ended: what arrived is written out to the last byte. */
void child_finish_stdio(tunnel_t *t);

/* A socket that standard input is written into and standard output read from, by two threads. -1 after
 * tunnel_fail. */
int child_start_stdio(tunnel_t *t);

void child_open_browser(tunnel_t *t);
