/* Who has the loop next, where one peer could keep it: requests that came many at a time (pipelined), and
 * steps of TLS handshakes, each of which may cost as much as a hundred requests. A connection runs a few
 * requests and then waits for the loop's next round, in which everybody else's bytes are read too.
 * Handshakes wait in turns by network (IPv4 /24, IPv6 /48), and a round has few of them, so that neither
 * requests nor others' handshakes wait for all that somebody sends. Loop's thread; private to the http
 * side. */
#pragma once

#include <stdbool.h>

#include "common/turns.h"

struct conn;
struct front;
struct listener;

enum {
  PACE_REQUESTS = 4, /* of one connection in one round */
  PACE_CONNECTIONS =
      64,              /* of one listener that go on in one round, in the order in which they came to wait */
  PACE_HANDSHAKES = 4, /* steps of handshakes at one listener in one round */
  PACE_HELLO_MAX = 16 << 10 /* bytes of one step that are kept until its turn */
};

/* Before the listener's first connection. SMPL_ENOMEM. */
int pace_open(struct listener *listener);
void pace_close(struct listener *listener);

/* The next request of the connection is here; it runs in the loop's next round (conn_resume). */
void pace_request(struct conn *conn);
/* The next step of the connection's handshake is here; it is done in its turn (conn_shake). SMPL_ELIMIT:
 * no place. */
int pace_handshake(struct conn *conn);
/* The connection goes away. */
void pace_leave(struct conn *conn);

/* One round. */
void pace_round(struct front *front);
/* Nobody waits. */
bool pace_is_idle(const struct front *front);
