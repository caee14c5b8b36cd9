/* SPDX-License-Identifier: Apache-2.0 */
/* The template: executed by the broker, holds the libraries warm and the host keys' public halves, and forks
 * a worker for each connection. It knows no configuration and reads nothing of any peer. */
#pragma once

enum { TEMPLATE_SOCK_FD = 3 };

/* Serves the broker on TEMPLATE_SOCK_FD until it closes. Returns the exit status. */
int template_run(void);
