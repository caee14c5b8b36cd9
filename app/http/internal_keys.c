/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/internal_keys.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct internal_keys {
  size_t count;
  internal_key_t keys[];
};

typedef struct operation_row {
  const char *name, *purpose;
} operation_row_t;

static const operation_row_t operations[OPERATION_COUNT] = {
#define OPERATION_ROW(id, name, what) [OPERATION_##id] = {name, what},
    OPERATION_LIST(OPERATION_ROW)
#undef OPERATION_ROW
};

const char *operation_name(operation_t operation)
{
  return operations[operation].name;
}

const char *operation_purpose(operation_t operation)
{
  return operations[operation].purpose;
}

operation_t operation_named(const char *name)
{
  for (int i = OPERATION_FIRST; i < OPERATION_COUNT; i++)
    if (strcmp(operations[i].name, name) == 0)
      return (operation_t)i;
  return OPERATION_OPEN;
}

internal_keys_t *internal_keys_new(const internal_key_t *keys, size_t count)
{
  internal_keys_t *all = calloc(1, sizeof *all + count * sizeof *all->keys);
  if (all == NULL)
    return NULL;
  all->count = count;
  if (count > 0)
    memcpy(all->keys, keys, count * sizeof *keys);
  return all;
}

void internal_keys_free(internal_keys_t *keys)
{
  free(keys);
}

internal_verdict_t internal_keys_judge(const internal_keys_t *keys, const char *text, operation_t operation,
                                       char *name)
{
  uint8_t hash[KEY_HASH_LEN];
  const internal_key_t *found = NULL;
  if (!key_is_internal(text) || key_hash(text, hash))
    return INTERNAL_UNKNOWN;
  for (size_t i = 0; keys != NULL && i < keys->count; i++)
    if (key_hash_equal(keys->keys[i].hash, hash))
      found = &keys->keys[i]; /* and on: all are looked at, whichever it is */
  if (found == NULL)
    return INTERNAL_UNKNOWN;
  memcpy(name, found->name, INTERNAL_NAME_MAX);
  return (found->operations >> operation & 1) != 0 ? INTERNAL_ADMITTED : INTERNAL_FORBIDDEN;
}
