/* SPDX-License-Identifier: Apache-2.0 */
/* A front for tests of the services: requests made by hand, replies caught. */
#pragma once

#include <jansson.h>

#include "app/http/handler.h"

/* A request as a handler sees it, and after the reply, the reply. query is "name=value" strings, ending with
 * NULL. */
request_t *fake_request(const char *id, const char *bearer, const char *body, const char *const *query);
/* As if it came from there; before that, from 192.0.2.1. */
void fake_set_source(request_t *request, const char *address);
void fake_request_free(request_t *request);

int fake_replies(const request_t *request); /* how often it was replied to */
int fake_status(const request_t *request);  /* 0: a guard let it go on */
const json_t *fake_json(const request_t *request);
const char *fake_header(const request_t *request); /* "Name: value" set last, or "" */
/* Member of errors[0], or of its source; "" if there is none. */
const char *fake_error(const request_t *request, const char *member);

/* Runs the loop until the request was replied to; fails the test after some seconds. */
void fake_wait(uv_loop_t *loop, const request_t *request);
/* A folder of its own for the test; removed by fake_folder_remove. */
const char *fake_folder(void);
void fake_folder_remove(void);
/* "folder/name"; valid until the next call. */
const char *fake_path(const char *name);
