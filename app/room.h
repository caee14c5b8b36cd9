/* What connections hold together and must not hold without bound: bytes of unfinished bodies, bytes of answers that their
 * peers have not taken, and places. Who holds how much is counted for each source (an IPv4 address, an IPv6 /64), so that
 * it is the source with the most that gives way. All on the loop's thread; private to the http side. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ip.h"

struct conn;
struct front;
struct listener;

typedef enum room_kind {
  ROOM_BODIES,  /* bytes of buffers for bodies that are still coming */
  ROOM_REPLIES, /* bytes of answers queued behind slow peers */
  ROOM_KINDS
} room_kind_t;

/* Exists while a connection of it does. */
typedef struct source source_t;
typedef struct room room_t;

/* NULL when there is no memory or no randomness. */
room_t *room_new(void);
/* Once every source has left. NULL allowed. */
void room_free(room_t *room);

/* A connection from that address more; NULL when out of memory. */
source_t *room_enter(room_t *room, const ip_t *ip);
/* One less. source may be NULL. */
void room_leave(room_t *room, source_t *source);
size_t room_connections(const source_t *source);
/* Bytes of that kind, of everybody together. */
size_t room_held(const room_t *room, room_kind_t kind);

/* Counts bytes more for the connection. When that passes the limit, connections of sources that hold more give way
 * first (conn_give_way), those that began longest ago; false, and nothing counted, if there is none. */
bool room_take(struct conn *conn, room_kind_t kind, size_t bytes);
/* The connection holds nothing of that kind any more. */
void room_give_back(struct conn *conn, room_kind_t kind);

/* A TLS handshake more of the connection, and one less when it is over; the second may be called for any connection. */
void room_begin_handshake(struct conn *conn);
void room_end_handshake(struct conn *conn);
/* The handshake to be given up before another one of that source begins: if the source has its limit of them at this listener,
 * its oldest; else, if the listener has, the oldest of the source with the most, among the ROOM_LOOK oldest. NULL if there is
 * room. */
struct conn *room_handshake_victim(const struct listener *listener, const source_t *newcomer);

/* The connection of the listener to be closed for a newcomer: of the ROOM_LOOK that have been in the middle of a TLS handshake, a
 * request's head or its body for longest, the first whose source has the most connections. NULL if there is none, or if the newcomer's
 * own source has still more. */
struct conn *room_crowder(const struct listener *listener, const source_t *newcomer);

enum { ROOM_LOOK = 64 /* connections looked at to find the one that gives way: a bounded part of a flood */ };
