/* SPDX-License-Identifier: Apache-2.0 */
/* A page of a list, read and written as text by the storage's reading thread: a page may have a thousand
 * rows, and nobody else's request waits for them on the loop. Pages wait in turns, by account or else by
 * source (storage.h). */
#pragma once

#include "app/services/jsonapi.h"
#include "app/services/storage.h"

/* The rows: data becomes an array, *total is set if it was asked for. Reading thread. account: as given;
 * may be NULL. */
typedef int (*listing_read)(storage_db_t *db, const char *account, const jsonapi_list_t *asked, json_t **data,
                            int64_t *total);

/* Replies with the page, later. account, if there is one: whose rows they are; copied. asked: read of
 * this request. */
void listing_start(storage_t *storage, request_t *request, const char *account, const jsonapi_list_t *asked,
                   listing_read read);
