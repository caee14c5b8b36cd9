/* SPDX-License-Identifier: Apache-2.0 */
/* The template process that forks the workers. It is executed, and given the host keys' public halves. A
 * fresh one replaces it every SPAWNER_WORKERS workers, at reload, and after a worker that crashed or broke
 * its contract. Its workers share the layout of their memory and the canary, and an attacker learns of both
 * from a crash. Started again if it dies. An old one stays until its last worker has gone. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "bastion/limits.h"
#include "bastion/policy/config.h"
#include "bastion/contract/msg.h"
#include "common/base/ip.h"

typedef struct spawner spawner_t;

typedef struct spawner_events {
  /* A template can take connections, or none can. */
  void (*on_ready)(void *ctx, bool ready);
  void (*on_spawned)(void *ctx, uint64_t session, int pid);
  /* status as waitpid gives it; -1 when the template died and with it what it knew. */
  void (*on_exited)(void *ctx, uint64_t session, int status);
  /* A template that was in use ended by itself: with this status, or by this signal. */
  void (*on_died)(void *ctx, int pid, int status, int signal);
  /* The launcher ended by itself: there will be no other template, and nobody to kill a worker. */
  void (*on_lost)(void *ctx);
  void *ctx;
} spawner_events_t;

typedef struct spawner_status {
  bool ready;
  int pid;            /* of the template in use, 0 if none */
  uint32_t walls;     /* that it put up */
  unsigned templates; /* living ones, the retired too */
  uint64_t started;   /* since the broker started */
  uint64_t renewed;   /* of these, because of a worker that crashed or misbehaved */
} spawner_status_t;

/* program is the path of smpl-bastion-worker, for messages. launcher_sock (launcher_fork) is taken over, also
 * on failure. config is borrowed until the next spawner_renew. */
int spawner_new(uv_loop_t *loop, const char *program, int launcher_sock, const config_t *config,
                const spawner_events_t *events, spawner_t **out, diag_t *diag);
/* Fresh template with this configuration's host keys. The old one serves until the new one is ready, unless
 * the keys are others now: then none serves until then. */
void spawner_renew(spawner_t *spawner, const config_t *config, bool other_keys);
/* Asks for a worker with the client's socket and its end of the pair. A template makes a few workers at a
 * time; who comes faster waits, in turns by the source's network. client stays the caller's, open until then;
 * pair is taken over with SMPL_OK, and closed if no worker comes of it. */
int spawner_spawn(spawner_t *spawner, uint64_t session, const ip_t *source, int client, int pair);
/* Whether a worker that ended so (as waitpid gives it) crashed: by a fault in its code, a canary, a check of
 * the library's, or a system call that it may not make. Not by being killed. Pure. */
bool spawner_is_crash(int status);
/* The session's worker broke its contract: no other worker is forked from its template. The next connection
 * waits for a fresh one. A worker that crashes has the same effect by itself. */
void spawner_distrust(spawner_t *spawner, uint64_t session);
/* SIGKILL to the session's worker, if its template still lives; none is made for who still waits. */
void spawner_kill(spawner_t *spawner, uint64_t session);
void spawner_status(const spawner_t *spawner, spawner_status_t *out);
/* Lets the templates go: they end when their socket closes. NULL allowed. */
void spawner_close(spawner_t *spawner);
