/* SPDX-License-Identifier: Apache-2.0 */
/* Who has the loop next, where one peer could keep it: requests that came many at a time, on one connection
 * (pipelined) or on many, and steps of TLS handshakes, each of which may cost as much as a hundred requests.
 * In a round of the loop a network (IPv4 /24, IPv6 /48) has so many requests begun as they are read, and a
 * connection a few of them; what is more waits for its turn in one of the next rounds, in which everybody
 * else's bytes are read too. Those that wait do so in turns by network, and a round has few of them, so that
 * nobody waits for all that somebody else sends. Behind a balancer the network is that of the client whom
 * the waiting head names. Loop's thread; private to the http side. */
#pragma once

#include <stdbool.h>

#include "common/base/turns.h"

struct conn;
struct front;
struct listener;

enum {
  PACE_REQUESTS = 4,     /* of one connection in one round */
  PACE_BEGUN = 32,       /* requests of one network that begin in one round as they are read */
  PACE_BEGUN_ALL = 128,  /* of all networks, at one listener */
  PACE_ACCEPTS = 32,     /* connections that a listener accepts in one round */
  PACE_SLOTS = 256,      /* counters for networks; two that share one share their requests of a round */
  PACE_CONNECTIONS = 32, /* of one listener that go on in one round, in turns by network */
  PACE_HANDSHAKES = 4,   /* steps of handshakes at one listener in one round */
  /* Bytes that a connection reads at a time, up to the end of a head, while half of the room for heads is
   * taken: so many of every connection of a listener fit into the other half. */
  PACE_CROWDED_READ = 1 << 10,
  PACE_HELLO_MAX = 16 << 10 /* bytes of one step that are kept until its turn */
};

/* Before the listener's first connection. SMPL_ENOMEM. */
int pace_open(struct listener *listener);
void pace_close(struct listener *listener);

/* Requests that began in this round, by network. Zeroed: none. */
typedef struct pace_begun {
  uint64_t round; /* in which the counts below were made */
  unsigned all, accepted;
  struct {
    uint64_t round;
    unsigned count;
  } slots[PACE_SLOTS];
} pace_begun_t;

/* Whether one more connection may be accepted in this round; then it is counted. If not, the listener goes on
 * by itself in the next one (conn_accept). */
bool pace_accepts(struct listener *listener);
/* Whether the connection's next request, whose head is here, may begin at once; then it is counted. If not,
 * it waits (pace_request). */
bool pace_begins(struct conn *conn);
/* How many bytes the connection reads at a time, at most so many. Who waits keeps what he has read: where the
 * room for it is scarce, that is little, so that nobody who waits is closed for it. */
unsigned pace_read_size(const struct conn *conn, unsigned most);
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
