/* SPDX-License-Identifier: Apache-2.0 */
/* What sessions need of their owner. They know nothing else of the broker. */
#pragma once

#include "bastion/audit/audit.h"
#include "bastion/policy/catalog.h"
#include "bastion/policy/finder.h"
#include "bastion/policy/penalty.h"
#include "bastion/session/blocks.h"
#include "bastion/session/door.h"
#include "bastion/session/known.h"
#include "bastion/session/usage.h"
#include "bastion/spawn/spawner.h"

/* All borrowed. */
typedef struct session_host {
  finder_world_t world; /* the loop, the configuration in force, the lookups */
  catalog_t *catalog;
  audit_t *audit;
  blocks_t *blocks; /* NULL without `state` */
  usage_t *usage;   /* what each user takes of what all share */
  penalty_t *penalties;
  known_t *known;
  door_t *door; /* the places of those that have not signed in */
  spawner_t *spawner;
  uint64_t descriptors; /* that this process may have */
  void *ctx;            /* of the calls below */
  /* Has sweep_all called in the loop's next turn. */
  void (*sweep_soon)(void *ctx);
  /* A connection gave way before its login for this newcomer, by this rule. */
  void (*on_gave_way)(void *ctx, const endpoint_t *newcomer, door_rule_t rule, const char *text);
} session_host_t;
