/* SPDX-License-Identifier: Apache-2.0 */
/* Gives out turns on the loop where one peer could keep it. It does so for bursts of requests, on one
 * connection (pipelined) or on many, and for steps of TLS handshakes. Such a step may cost as much as a
 * hundred requests. In a round of the loop a network (IPv4 /24, IPv6 /48) has so many requests begun as they
 * are read, and a connection a few of them. Further ones wait for their turn in one of the next rounds, in
 * which everybody else's bytes are read too. They wait in turns by network, and a round has few of them. So
 * nobody waits for all requests of somebody else. Behind a balancer the network is that of the client whom
 * the waiting head names. Loop's thread; private to the http side. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "app/limits.h"
#include "common/base/ip.h"
#include "common/base/turns.h"

/* The loop's rounds. */
typedef struct pace_rounds {
  uv_idle_t idle;  /* runs while somebody waits for a round */
  uv_idle_cb run;  /* does one */
  uint64_t number; /* from 1 */
} pace_rounds_t;

/* Requests that began in this round, by network. Zeroed: none. */
typedef struct pace_begun {
  uint64_t round; /* in which the counts below were made */
  unsigned all, accepted;
  struct {
    uint64_t round;
    unsigned count;
  } slots[PACE_SLOTS];
} pace_begun_t;

/* Of one listener. Zeroed before it is opened. */
typedef struct pace {
  pace_rounds_t *rounds;
  turns_t *requests; /* that wait for the loop */
  turns_t *steps;    /* of handshakes, likewise; NULL without TLS */
  bool accept_waits; /* a connection is here that is accepted in the next round */
  pace_begun_t begun;
} pace_t;

/* A connection's place in one of the queues: a part of it. Zeroed: in none. */
typedef struct pace_turn {
  turns_item_t item; /* first */
  turns_t *queue;    /* NULL: in none */
} pace_turn_t;

/* Before the listener's first connection. So many connections and handshakes have a place; no handshakes: no
 * TLS. rounds is borrowed. SMPL_ENOMEM. */
int pace_open(pace_t *pace, pace_rounds_t *rounds, size_t connections, size_t handshakes);
void pace_close(pace_t *pace);

/* Whether one more connection may be accepted in this round; then it is counted. If not, it is due in the
 * next one. */
bool pace_accepts(pace_t *pace);
/* A connection waits, and may be accepted now; then it is counted. */
bool pace_accept_is_due(pace_t *pace);
/* Whether a request from there, whose head is here, may begin at once; then it is counted. If not, its
 * connection waits (pace_request). */
bool pace_begins(pace_t *pace, const ip_t *source);
/* Bytes of the connection's next request are here, from that source; its turn comes in a round
 * (pace_next_request). SMPL_ELIMIT: no place. */
int pace_request(pace_t *pace, pace_turn_t *turn, const ip_t *source);
/* The next step of the connection's handshake is here; the same (pace_next_handshake). */
int pace_handshake(pace_t *pace, pace_turn_t *turn, const ip_t *source);
/* The connection goes away. */
void pace_leave(pace_turn_t *turn);

/* Whose turn it is, which waits no more; NULL if nobody waits. */
pace_turn_t *pace_next_request(pace_t *pace);
pace_turn_t *pace_next_handshake(pace_t *pace);
/* Neither request nor step waits. */
bool pace_is_idle(const pace_t *pace);
