/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/byte_queue.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"

enum { FIRST = 4096 };

void byte_queue_free(byte_queue_t *q)
{
  free(q->data);
  *q = (byte_queue_t){0};
}

int byte_queue_reserve(byte_queue_t *q, size_t more)
{
  if (q->cap - q->at - q->len >= more)
    return SMPL_OK;
  if (q->at > 0) {
    memmove(q->data, q->data + q->at, q->len);
    q->at = 0;
    if (q->cap - q->len >= more)
      return SMPL_OK;
  }
  size_t cap = q->cap ? q->cap : FIRST;
  while (cap - q->len < more) {
    if (cap > SIZE_MAX / 4)
      return SMPL_ELIMIT;
    cap *= 2;
  }
  uint8_t *data = realloc(q->data, cap);
  if (data == NULL)
    return SMPL_ENOMEM;
  q->data = data;
  q->cap = cap;
  return SMPL_OK;
}

int byte_queue_add(byte_queue_t *q, const void *data, size_t len)
{
  int err = byte_queue_reserve(q, len);
  if (err)
    return err;
  memcpy(q->data + q->at + q->len, data, len);
  q->len += len;
  return SMPL_OK;
}

void byte_queue_take(byte_queue_t *q, size_t len)
{
  q->at += len;
  q->len -= len;
  if (q->len == 0)
    byte_queue_free(q);
}
