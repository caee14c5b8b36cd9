/* SPDX-License-Identifier: Apache-2.0 */
/* The five routes of a product's one kind of resource, configs or flags: what they share. Handlers for the
 * table of routes; their service is a product_t, whose kind says what differs. */
#pragma once

#include "app/services/product.h"

typedef struct resource_kind {
  const char *type; /* "config": in bodies, and in sentences */
  /* Any thread: whether the body is right as far as it alone tells (its attributes, and data.id if it has
   * one). edit.id is NULL when one is created. SMPL_OK, or an error with the problem filled. */
  int (*check)(change_t *change);
  read_kind_t list;
} resource_kind_t;

void resource_create(request_t *request, void *service);
void resource_replace(request_t *request, void *service);
void resource_delete(request_t *request, void *service);
void resource_get(request_t *request, void *service);
void resource_list(request_t *request, void *service);

/* SMPL_OK, or 400 at data.id. */
int resource_check_id(change_t *change);
