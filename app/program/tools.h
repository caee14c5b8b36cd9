/* SPDX-License-Identifier: Apache-2.0 */
/* The commands about a service's database: backup, restore, resend. */
#pragma once

#include "app/http/handler.h"

/* Their lines of the usage. */
#define TOOLS_USAGE                                                                                          \
  "       smpl-app backup -c FILE [--force] OUT    copy the database of the running service to OUT\n"        \
  "       smpl-app restore -c FILE [--trust-keys] BACKUP\n"                                                  \
  "                                            put BACKUP in the place of the database; stop the service "   \
  "first\n"                                                                                                  \
  "       smpl-app restore -c FILE --trust-keys    enable the API keys that a restore has disabled\n"        \
  "       smpl-app resend -c FILE [SISTER]     tell sister services of all accounts again\n"

/* True if the first word of the arguments that is no option names one of them. */
bool tools_named(int argc, char **argv);
/* Runs it: exit status 0, 1 (it failed, and changed nothing), 2 (usage), 130 (given up on SIGINT or
 * SIGTERM). */
int tools_main(int argc, char **argv, const service_t *const *services);
