/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call inside. Operations of the internal tier that create, change or reveal credentials need an
 * internal key. Each key has a name and the operations that it may be used for. Of accepted keys only SHA-256
 * is known here. A set of keys is immutable; a reload makes another. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/limits.h"
#include "app/http/keys.h"

/* Name in the configuration, and what it lets a caller do. */
#define OPERATION_LIST(X)                                                                                    \
  X(PROVISION, "provision", "create and delete accounts, create API keys, and tell a service of an account") \
  X(INTROSPECT, "introspect", "ask whose an API key is")

typedef enum operation {
  OPERATION_OPEN,     /* for every client of the listener */
  OPERATION_CUSTOMER, /* for whoever has an API key */
#define OPERATION_ENUM(id, name, what) OPERATION_##id,
  OPERATION_LIST(OPERATION_ENUM)
#undef OPERATION_ENUM
      OPERATION_COUNT,
  OPERATION_FIRST = OPERATION_PROVISION /* from here on for callers with an internal key */
} operation_t;

const char *operation_name(operation_t operation);
const char *operation_purpose(operation_t operation);
/* OPERATION_OPEN if there is none of that name. */
operation_t operation_named(const char *name);

typedef struct internal_key {
  char name[INTERNAL_NAME_MAX];
  uint8_t hash[KEY_HASH_LEN];
  unsigned operations; /* 1u << operation_t */
} internal_key_t;

typedef struct internal_keys internal_keys_t;

/* Copies count keys, which may be 0. NULL when out of memory. */
internal_keys_t *internal_keys_new(const internal_key_t *keys, size_t count);
/* NULL allowed. */
void internal_keys_free(internal_keys_t *keys);

typedef enum internal_verdict {
  INTERNAL_ADMITTED,
  INTERNAL_UNKNOWN,   /* no accepted key */
  INTERNAL_FORBIDDEN, /* one of a known caller that may do other things */
} internal_verdict_t;

/* Judges a key's text. name (INTERNAL_NAME_MAX bytes) is whose it is, unless INTERNAL_UNKNOWN. The time it
 * takes does not depend on how much of a key is right. keys may be NULL: none is accepted. */
internal_verdict_t internal_keys_judge(const internal_keys_t *keys, const char *text, operation_t operation,
                                       char *name);
