/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the libssh that is loaded has known holes. At run time the library tells its upstream version
 * alone, and Debian mends holes without changing that: what dpkg records of the package decides, if it is
 * this library's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/conf/conf.h"
#include "common/base/diag.h"

enum {
  LIBSSH_VERSION_MAX = 128,         /* bytes of a version, with NUL; a longer one counts as unknown */
  LIBSSH_DPKG_BYTES_MAX = 64 << 20, /* bytes of dpkg's status; of a bigger one nothing is read */
};

/* `libssh:` of bastion.yaml and tunnel.yaml. */
typedef struct libssh_conf {
  bool accept_vulnerable;
} libssh_conf_t;
extern const conf_map_t libssh_conf_map;

typedef enum libssh_verdict {
  LIBSSH_FINE,
  LIBSSH_UNKNOWN,   /* nothing is known against it, and nothing for it */
  LIBSSH_VULNERABLE /* it has holes that are known */
} libssh_verdict_t;

/* Debian's order of versions (Debian policy 5.6.12: epoch, upstream, revision; a tilde sorts before
 * everything). Below 0, 0, above 0. Pure. */
int libssh_compare_versions(const char *a, const char *b);

/* loaded: what the library says of itself ("0.10.6"); NULL: it does not. recorded: dpkg's version; NULL: it
 * has none. One that is not the loaded one's counts as none. *fixed is the first version without the holes,
 * for a message. Pure. */
libssh_verdict_t libssh_judge(const char *loaded, const char *recorded, const char **fixed);

/* The version of package that is installed, by dpkg's status file at path; the lowest, if there are several
 * architectures. SMPL_ENOENT: not there, or not installed; SMPL_ELIMIT, SMPL_ENOMEM, SMPL_ESYS. */
int libssh_recorded(const char *path, const char *package, char *version, size_t cap);

/* At start: all of it. loaded as above. SMPL_EDENIED for a vulnerable one unless it is accepted, with the way
 * out in diag, which names `file` as where to accept it. *warning, LIBSSH_WARNING_MAX bytes, gets one line to
 * log, or "". */
enum { LIBSSH_WARNING_MAX = 512 };
int libssh_check(const char *loaded, const libssh_conf_t *conf, const char *file, char *warning,
                 diag_t *diag);
