/* SPDX-License-Identifier: Apache-2.0 */
/* What connections hold together and must not hold without bound: bytes of unfinished heads and bodies,
 * bytes of answers that their peers have not taken, places, TLS handshakes. Each is counted by address
 * and by the networks around it (common/net/crowd.h), so that whoever takes most gives way, however many
 * addresses he has.
 *
 * A connection's source is its peer. A balancer's connection carries requests of many: while one of them
 * is under way, the connection and all that it holds are the source's that the balancer named; before and
 * after, while it is idle or a head is coming, its place is the balancer's. Those places are not counted
 * with anybody's: a balancer sends heads whole, and closing its kept connections would hit whoever comes
 * next. They give way last: only when there is nothing else to close does the balancer's connection that
 * has been idle for longest go.
 *
 * All on the loop's thread; private to the http side. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/net/crowd.h"
#include "common/base/ip.h"

struct conn;
struct front;
struct listener;

typedef enum room_kind {
  ROOM_HEADS,  /* bytes received that are no whole head yet or not read yet. They are the peer's, a balancer's
                  too */
  ROOM_BODIES, /* bytes of buffers for bodies that are still coming */
  ROOM_REPLIES, /* bytes of answers queued behind slow peers */
  ROOM_KINDS
} room_kind_t;

enum {
  ROOM_LOOK = 64,  /* connections looked at to find the one that gives way: a bounded part of a flood */
  ROOM_SHARE = 16, /* a network with more than one in so many of a listener's places gives way before anybody
                      else's idle connection does */
};

typedef struct room room_t;

/* NULL when there is no memory or no randomness. */
room_t *room_new(void);
/* Once every connection has left. NULL allowed. */
void room_free(room_t *room);

/* Who has how many of one listener's places. */
typedef struct room_places {
  crowd_t *connections, *handshakes;
} room_places_t;

/* SMPL_ENOMEM. */
int room_open_places(room_places_t *places);
void room_close_places(room_places_t *places);

/* The connection has a place from here on: its peer's, unless that is a balancer. SMPL_ENOMEM. */
int room_enter(struct conn *conn);
/* It holds nothing any more. May be called for one that never entered. */
void room_leave(struct conn *conn);
/* The balancer's connection carries a request of that source from here on. SMPL_ENOMEM. */
int room_serve(struct conn *conn, const ip_t *source);
/* That request is answered. May be called for any connection; it must hold nothing but ROOM_HEADS. */
void room_served(struct conn *conn);

/* Bytes of that kind, of everybody together. */
size_t room_held(const room_t *room, room_kind_t kind);
/* Counts bytes more for the connection. When that passes the limit, connections of whoever holds more
 * give way first (conn_give_way), those that began longest ago; false, and nothing counted, if there is
 * none. */
bool room_take(struct conn *conn, room_kind_t kind, size_t bytes);
/* The same for what it holds of that kind altogether from now on. Holding less never fails. */
bool room_hold(struct conn *conn, room_kind_t kind, size_t bytes);
/* The connection holds nothing of that kind any more. */
void room_give_back(struct conn *conn, room_kind_t kind);

/* A TLS handshake more of the connection (SMPL_ENOMEM), and one less when it is over; the second may be
 * called for any connection. */
int room_begin_handshake(struct conn *conn);
void room_end_handshake(struct conn *conn);
/* The handshake to be given up before the newcomer's begins: if its source (an IPv4 address, an IPv6 /64)
 * has its limit of them at this listener, an old one of its own; else, if the listener has its limit, the
 * oldest of the heaviest. Balancers' are given up when there are no others. NULL if there is room. */
struct conn *room_handshake_victim(const struct conn *newcomer);

/* The connection to be closed for the newcomer, which has entered. If a network has more than its share
 * of places: at its heaviest address, the connection that was accepted first and is idle, or else one
 * that is unfinished or has an answer not taken. Otherwise the listener's that has been idle for longest;
 * or else the heaviest's, as before; or else a balancer's idle one. NULL: the newcomer itself. */
struct conn *room_place_victim(const struct conn *newcomer);
