/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the service manager over $NOTIFY_SOCKET (systemd's protocol, see sd_notify(3)): one datagram
 * each, never waited for. Main thread. */
#pragma once

#include <stdint.h>

typedef struct notify notify_t;

/* NULL when nobody asked to be told, or when the socket cannot be reached (a warning says so). Reads
 * NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. */
notify_t *notify_open(void);
void notify_close(notify_t *n);

/* All take NULL. */
void notify_ready(notify_t *n, const char *status);
void notify_reloading(notify_t *n);
void notify_stopping(notify_t *n);
void notify_alive(notify_t *n);

/* Milliseconds within which the manager wants to hear notify_alive; 0: it does not. */
uint64_t notify_watchdog_ms(const notify_t *n);
