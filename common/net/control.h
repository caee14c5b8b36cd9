/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of a running program: a unix stream socket, one JSON object a line each way, closed
 * after the answer. Server side on a libuv loop (all calls on the loop's thread), client side blocking.
 *
 * Request {"cmd": "status", ...}; answer {"ok": true, ...} or {"ok": false, "error": "one clear line"}. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "common/base/diag.h"

enum {
  CONTROL_REQUEST_MAX = 64 << 10, /* bytes of a request line */
  CONTROL_REPLY_MAX = 64 << 20,   /* bytes of an answer that the client accepts */
  CONTROL_CLIENTS_MAX = 32,       /* connections at once; more are closed */
  CONTROL_CLIENTS_OF_UID = 8,     /* of one account at once, root and our own aside */
  CONTROL_CLIENTS_OTHERS = 24,    /* of all accounts together but root and our own, for which the rest stays
                                   * free; with one more the account that    has most gives up its oldest */
  CONTROL_HELD_MAX =
      64 << 20, /* bytes of answers that wait for their readers; with more the account that holds most gives
                 * up its oldest. Those of root and our own are counted, and stay */
  CONTROL_GROUPS_MAX = 65536, /* groups of a peer: as many as the kernel has (NGROUPS_MAX) */
  CONTROL_TIMEOUT_MS = 10000, /* for the request to arrive whole, and for the answer to be taken */
};

typedef struct control_server control_server_t;
typedef struct control_request control_request_t;

typedef struct control_peer {
  uid_t uid;
  gid_t gid;
  pid_t pid;
  const gid_t
      *groups; /* its supplementary ones, as the kernel knows them (SO_PEERGROUPS); borrowed for the call */
  size_t group_count;
} control_peer_t;

/* Called once a request with its parsed body (borrowed for the call). Must lead to exactly one control_reply,
 * now or later, even if the client has gone meanwhile. */
typedef void (*control_handler_t)(void *ctx, control_request_t *request, const control_peer_t *peer,
                                  json_t *body);

/* Listens at path, mode 0660. A socket file left behind by a dead process is replaced, one that a living
 * process answers on is SMPL_EBUSY. Peers other than root, our own user and members of the socket's group
 * never reach it (file modes); roles within are the handler's. */
int control_server_open(uv_loop_t *loop, const char *path, control_handler_t handler, void *ctx,
                        control_server_t **server, diag_t *diag);
/* Stops listening, removes the socket file, drops connections. Freed on the loop afterwards; NULL allowed.
 * Requests still held by the handler stay valid until replied to. */
void control_server_close(control_server_t *server);

/* Takes over the reference to reply. */
void control_reply(control_request_t *request, json_t *reply);
/* {"ok": false, "error": "..."} */
void control_reply_error(control_request_t *request, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Exit statuses of commands that ask a running program. */
enum { CONTROL_EXIT_FAILED = 1, CONTROL_EXIT_ABSENT = 3 /* no program runs there */ };
enum { CONTROL_RELOAD_MS = 600000 }; /* for the answer to a reload: big zones take their time */

/* The exit status for what control_call returned. */
int control_exit(int err);

/* Finds the socket in a configuration file that cannot be read as a whole any more, so that the running
 * program itself can say what is wrong. It takes the text behind `control:` at a line's beginning, else
 * fallback, both relative to the file's folder. fallback NULL: there is none. malloc'ed; NULL if nothing is
 * known. */
char *control_guess(const char *config, const char *fallback);

/* Client: sends body (reference borrowed), waits at most timeout_ms. On success *reply is a new reference to
 * an object with "ok": true; with "ok": false the error's text is in diag and SMPL_ESERVER is returned. "no
 * program answers" is SMPL_ECLOSED. */
int control_call(const char *path, const json_t *body, uint64_t timeout_ms, json_t **reply, diag_t *diag);
