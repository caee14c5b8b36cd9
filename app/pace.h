/* Who has the loop next, where one peer could keep it: requests that came many at a time (pipelined), and
 * steps of TLS handshakes, each of which may cost as much as a hundred requests. A connection runs a few
 * requests and then waits for its turn in one of the loop's next rounds, in which everybody else's bytes
 * are read too. Both wait in turns by network (IPv4 /24, IPv6 /48), and a round has few of them, so that
 * nobody waits for all that somebody else sends. Behind a balancer the network is that of the client whom
 * the waiting head names. Loop's thread; private to the http side. */
#pragma once

#include <stdbool.h>

#include "common/turns.h"

struct conn;
struct front;
struct listener;

enum {
  PACE_REQUESTS = 4,        /* of one connection in one round */
  PACE_CONNECTIONS = 64,    /* of one listener that go on in one round, in turns by network */
  PACE_HANDSHAKES = 4,      /* steps of handshakes at one listener in one round */
  PACE_HELLO_MAX = 16 << 10 /* bytes of one step that are kept until its turn */
};

/* Before the listener's first connection. SMPL_ENOMEM. */
int pace_open(struct listener *listener);
void pace_close(struct listener *listener);

/* Bytes of the connection's next request are here; it goes on in its turn (conn_resume). SMPL_ELIMIT: no
 * place. */
int pace_request(struct conn *conn);
/* The next step of the connection's handshake is here; it is done in its turn (conn_shake). SMPL_ELIMIT:
 * no place. */
int pace_handshake(struct conn *conn);
/* The connection goes away. */
void pace_leave(struct conn *conn);

/* One round. */
void pace_round(struct front *front);
/* Nobody waits. */
bool pace_is_idle(const struct front *front);
