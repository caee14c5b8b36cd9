/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in one stretch of memory, taken from the front and added at the back. The caller that adds keeps the
 * limit. An empty queue holds no memory: idle connections are many. A zeroed struct is an empty queue. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct byte_queue {
  uint8_t *data;
  size_t cap;
  size_t at;  /* where the queued bytes begin */
  size_t len; /* how many there are */
} byte_queue_t;

/* Room for more bytes behind those queued, to be written at data + at + len. SMPL_ENOMEM, SMPL_ELIMIT. */
int byte_queue_reserve(byte_queue_t *q, size_t more);
/* Copies bytes to the end. SMPL_ENOMEM, SMPL_ELIMIT. */
int byte_queue_add(byte_queue_t *q, const void *data, size_t len);
/* Removes len bytes, at most all, from the front. */
void byte_queue_take(byte_queue_t *q, size_t len);
void byte_queue_free(byte_queue_t *q);
