/* One message in, one answer out: the only path from a socket to a zone, for UDP and TCP alike. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/ip.h"
#include "resolver/answer.h"
#include "resolver/snapshot.h"

/* Chooses the view, answers, counts. out and cap as in answer(). Returns the answer's length or 0. */
size_t respond(const snapshot_t *s, unsigned worker, size_t listener, const ip_t *peer,
               answer_transport_t transport, const uint8_t *msg, size_t len, uint8_t *out, size_t cap);
