/* SPDX-License-Identifier: Apache-2.0 */
/* What the speaker has received and carried, in memory that it shares with the supervisor: numbers that
 * change with every turn need no messages. They are believed as far as numbers go; a speaker that stands
 * still does not count on, and then the path counts as dead. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

typedef struct gauge {
  _Atomic uint64_t received; /* bytes of the session: signs of life */
  _Atomic uint64_t up;       /* bytes of connections, to the targets */
  _Atomic uint64_t down;     /* from them */
} gauge_t;
