/* SPDX-License-Identifier: Apache-2.0 */
/* The programs beside the tunnel: one that the tunnel is for (-- COMMAND), standard input and output as a
 * connection (--stdio), the browser (--open). */
#pragma once

#include <stdbool.h>

#include "tunnel/run/life.h"
#include "tunnel/run/route.h"

enum { /* exit statuses, as shells say it */
       CHILD_NOT_FOUND = 127,
       CHILD_NOT_EXECUTABLE = 126,
};

typedef struct child child_t;

/* descriptors: the limit that the program gets. What it is handed must live as long. NULL when out of memory.
 */
child_t *child_new(life_t *life, const routes_t *routes, uint64_t descriptors);
/* Once the local ports are bound, and before the walls stand: makes the processes that the program and the
 * browser will run in, with SMPL_TUNNEL_URL and so on in the program's environment. */
void child_prepare(child_t *c);
/* Runs the program with SMPL_TUNNEL_URL and so on in its environment. */
void child_start(child_t *c);
/* SIGCHLD: if the program has ended, so has the tunnel, with its status. */
void child_look(child_t *c);
/* A signal that wants us to end goes to the program, if one runs: the tunnel ends with it. False: none runs.
 */
bool child_signal(child_t *c, int number);
/* The tunnel is over: the program is not left without it. */
void child_end(child_t *c);
/* The program's exit status; -1: none has ended. */
int child_status(const child_t *c);
/* NULL allowed. */
void child_free(child_t *c);

/* A socket that standard input is written into and standard output read from, by two threads. -1 after
 * life_fail. */
int child_start_stdio(child_t *c);
/* Call it after the connection has ended: it writes out the rest to the last byte. */
void child_finish_stdio(child_t *c);

void child_open_browser(child_t *c);
