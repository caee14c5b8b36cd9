/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock: what a process, and all that it starts, may still reach of the file system, of TCP and of other
 * processes. Everything that nobody has allowed is refused (EACCES; signals EPERM). Open descriptors stay as
 * they are. A kernel that knows less is asked for less: TCP from ABI 4 on, signals and abstract sockets from
 * ABI 6 on (Linux 5.13 has 1, 6.7 has 4, 6.12 has 6). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/diag.h"

/* A sanitizer's run time reads and writes files of its own: programs leave Landlock out of such builds. */
enum {
#ifdef SMPL_SANITIZER
  LANDLOCK_LEFT_OUT = 1
#else
  LANDLOCK_LEFT_OUT = 0
#endif
};

enum { LANDLOCK_ABI_TCP = 4 }; /* from which on it knows TCP */

typedef struct landlock landlock_t;

/* What may be done beneath a folder, or to a file. */
typedef enum landlock_right {
  LANDLOCK_READ = 1,  /* open for reading, list */
  LANDLOCK_WRITE = 2, /* open for writing, cut short */
  /* of folders alone: */
  LANDLOCK_MAKE = 4,   /* make files */
  LANDLOCK_SOCKET = 8, /* make unix sockets */
  LANDLOCK_REMOVE = 16 /* remove files and sockets; with LANDLOCK_MAKE, rename files */
} landlock_right_t;

/* What the kernel has; 0: no Landlock. */
int landlock_abi(void);

/* Nothing is allowed yet; without tcp that stays as it is, for who connects to ports that no configuration
 * names. NULL where there is no Landlock: every function takes it, and does nothing then. */
landlock_t *landlock_new(bool tcp);
/* path is a file or folder that is there now; a missing one is passed over. rights: landlock_right_t, or'ed.
 */
void landlock_allow(landlock_t *l, const char *path, unsigned rights);
/* The folder that the file is in, there or not, and the one that a symbolic link leads to. */
void landlock_allow_beside(landlock_t *l, const char *file, unsigned rights);
/* TCP to this port, of any address: Landlock knows no addresses. */
void landlock_allow_connect(landlock_t *l, uint16_t port);
void landlock_allow_bind(landlock_t *l, uint16_t port);
/* Puts it up for this thread, and for all threads and processes that it makes from now on; frees l. Needs
 * no_new_privs, or CAP_SYS_ADMIN. False if it does not stand. */
bool landlock_enforce(landlock_t *l);
void landlock_free(landlock_t *l);

/* After an open that failed with EACCES: whether Landlock said no where file modes say yes. Keeps errno. */
bool landlock_refused(const char *path);
