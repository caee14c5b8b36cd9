/* SPDX-License-Identifier: Apache-2.0 */
/* A store that answers later, as one over the network does: it hands each call to another store on a later
 * turn of the loop, and the answer back on a later one still. Nothing is answered before store_ask returns.
 */
#pragma once

#include <uv.h>

#include "app/store/store.h"

/* Takes inner over: closes it when it is closed itself. */
store_t *late_new(uv_loop_t *loop, store_t *inner);
/* While held, calls are not handed on. */
void late_hold(store_t *late, bool held);
/* Calls that wait to be handed on. */
size_t late_waiting(const store_t *late);
