/* SPDX-License-Identifier: Apache-2.0 */
/* Commands for a running service, over its control socket. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/http/handler.h"

typedef struct client_ask {
  const char *command; /* as the socket knows it */
  uint64_t timeout_ms; /* for the answer */
  void (*print)(const json_t *reply);
  const char *config; /* the file that names the socket, which may be broken by now */
  const char *socket; /* NULL: the one of config */
  bool json;          /* print the answer as it is */
} client_ask_t;

/* Returns the exit status: 0, 1 with the reason on standard error, CONTROL_EXIT_ABSENT if no program answers
 * there. */
int client_ask(const client_ask_t *ask, const service_t *const *services);

void client_print_status(const json_t *reply);
void client_print_reload(const json_t *reply);
