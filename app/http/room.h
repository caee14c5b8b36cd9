/* SPDX-License-Identifier: Apache-2.0 */
/* What connections hold together and must not hold without bound: bytes of unfinished heads and bodies,
 * bytes of answers that their peers have not taken, places, TLS handshakes. Each is counted by address
 * and by the networks around it (common/net/crowd.h), so that whoever takes most gives way, however many
 * addresses he has. Who gives way is said here; ending him is the caller's.
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

#include "app/limits.h"
#include "app/http/phase.h"
#include "common/net/crowd.h"
#include "common/base/ip.h"

typedef enum room_kind {
  ROOM_HEADS,  /* bytes received that are no whole head yet or not read yet. They are the peer's, a balancer's
                  too */
  ROOM_BODIES, /* bytes of buffers for bodies that are still coming */
  ROOM_REPLIES, /* bytes of answers queued behind slow peers */
  ROOM_KINDS
} room_kind_t;

typedef struct room room_t;

/* bounds: bytes of each kind, of everybody together; borrowed. NULL when there is no memory or no
 * randomness. */
room_t *room_new(const size_t bounds[ROOM_KINDS]);
/* Once every connection has left. NULL allowed. */
void room_free(room_t *room);

typedef struct room_bounds {
  size_t connections;
  size_t handshakes;        /* under way */
  size_t source_handshakes; /* of them, of one source */
} room_bounds_t;

/* Who has how many of one listener's places. */
typedef struct room_places {
  crowd_t *connections, *handshakes;
  size_t shaking; /* TLS handshakes under way */
  room_bounds_t bounds;
  const phases_t *phases; /* the listener's */
} room_places_t;

/* phases is borrowed. SMPL_ENOMEM. */
int room_open_places(room_places_t *places, const room_bounds_t *bounds, const phases_t *phases);
void room_close_places(room_places_t *places);

/* One connection as the room sees it: a part of it. room, places, peer and balancer are set before it enters;
 * the rest is zeroed then. */
typedef struct seat {
  phased_t wait; /* first: what the connection waits for */
  room_t *room;
  room_places_t *places;
  ip_t peer;     /* the connection's other end */
  bool balancer; /* which is a balancer: each of its requests names its source */
  bool shaking;  /* its TLS handshake is counted */
  ip_t source;   /* whose the connection and all that it holds are now */
  crowd_member_t place, shake, held[ROOM_KINDS];
} seat_t;

/* The connection has a place from here on: its peer's, unless that is a balancer. SMPL_ENOMEM. */
int room_enter(seat_t *seat);
/* It holds nothing any more. May be called for one that never entered. */
void room_leave(seat_t *seat);
/* The balancer's connection carries a request of that source from here on. SMPL_ENOMEM. */
int room_serve(seat_t *seat, const ip_t *source);
/* That request is answered. May be called for any connection; it must hold nothing but ROOM_HEADS. */
void room_served(seat_t *seat);

/* Bytes of that kind, of everybody together. */
size_t room_held(const room_t *room, room_kind_t kind);
/* Half of what there may be is held. */
bool room_is_crowded(const room_t *room, room_kind_t kind);
/* Counts bytes more for the connection. SMPL_EBUSY, and nothing counted: there is no room before *victim has
 * given back what it holds of that kind, which is the oldest of whoever holds more; then ask again.
 * SMPL_ELIMIT, and nothing counted: there is no room, and nobody holds more. SMPL_ENOMEM. */
int room_take(seat_t *seat, room_kind_t kind, size_t bytes, seat_t **victim);
/* The same for what it holds of that kind altogether from now on. Holding less never fails. */
int room_hold(seat_t *seat, room_kind_t kind, size_t bytes, seat_t **victim);
/* The connection holds nothing of that kind any more. */
void room_give_back(seat_t *seat, room_kind_t kind);

/* A TLS handshake more of the connection (SMPL_ENOMEM), and one less when it is over; the second may be
 * called for any connection. */
int room_begin_handshake(seat_t *seat);
void room_end_handshake(seat_t *seat);
/* The handshake to be given up before the newcomer's begins: if its source (an IPv4 address, an IPv6 /64)
 * has its limit of them at this listener, an old one of its own; else, if the listener has its limit, the
 * oldest of the heaviest. Balancers' are given up when there are no others. NULL if there is room. */
seat_t *room_handshake_victim(const seat_t *newcomer);

/* The connection to be closed for the newcomer, which has entered. If a network has more than its share
 * of places: at its heaviest address, the connection that was accepted first and is idle, or else one
 * that is unfinished or has an answer not taken. Otherwise the listener's that has been idle for longest;
 * or else the heaviest's, as before; or else a balancer's idle one. NULL: the newcomer itself. */
seat_t *room_place_victim(const seat_t *newcomer);
