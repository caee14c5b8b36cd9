/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between operating systems; the one file with Linux in it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Raises the limit of descriptors as far as allowed: every connection needs one. Returns the limit as it was,
 * for programs that are run. */
uint64_t system_raise_limits(void);
/* In a child before it executes something: the limit as it was. */
void system_restore_limits(uint64_t descriptors);

/* Who listens on this local TCP port, as "name (pid 123)", if it can be seen; "" otherwise. Returns buf. */
char *system_port_holder(uint16_t port, char *buf, size_t cap);

/* What system_owner_of asks with; opened beforehand, since it must not fail when descriptors run out. fd -1:
 * it cannot be had, and every answer is SMPL_ESYS. */
typedef struct system_owners {
  int fd;
  uint32_t asked;
} system_owners_t;
system_owners_t system_owners_open(void);
void system_owners_close(system_owners_t *owners);

/* Whose process is at the other end of an accepted connection from this machine (TCP or unix socket).
 * SMPL_OK; SMPL_ENOENT: nobody's any more, or another machine's; SMPL_ESYS: the system does not tell. */
int system_owner_of(system_owners_t *owners, int fd, uid_t *uid);

/* Milliseconds since the system was started, the time it slept included. */
uint64_t system_awake_or_not_ms(void);

/* Opens a URL in the user's browser, in a process that outlives us. SMPL_ESYS when there is nothing to do it
 * with. */
int system_open_url(const char *url);
