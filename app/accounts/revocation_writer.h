/* SPDX-License-Identifier: Apache-2.0 */
/* Has the store write what is missing in the file of revocations: a revocation takes effect although its line
 * cannot be written, and the line follows later. Loop's thread. */
#pragma once

#include <uv.h>

#include "app/limits.h"
#include "app/store/store.h"

typedef struct revocation_writer revocation_writer_t;

/* Looks at once, and then again and again. SMPL_ENOMEM. */
int revocation_writer_new(uv_loop_t *loop, store_t *store, revocation_writer_t **out);
/* done is called later; calls of the store may still be under way: free after store_close. NULL allowed by
 * the latter. */
void revocation_writer_stop(revocation_writer_t *writer, void (*done)(void *ctx), void *ctx);
void revocation_writer_free(revocation_writer_t *writer);
