/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files, bounded, and the rules for secret ones and for those that decide what a program does. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/diag.h"

/* Reads a regular file of at most max bytes. *data is malloc'ed, ends with a NUL that *len does not count;
 * the caller frees it. SMPL_ENOENT, SMPL_ESYS, SMPL_ELIMIT, SMPL_EINVAL (not a regular file). */
int file_read(const char *path, size_t max, char **data, size_t *len, diag_t *diag);

/* The same for what a program does as it says (configuration, keys of users): refused (SMPL_EDENIED) if
 * anybody but root and us could have put it there. The file, on the open descriptor, and its folder must
 * belong to root or us, and only their owner may write them. That goes for the folder of the path as given,
 * and of the file that a symbolic link leads to. A folder further up may be another's. It may be writable by
 * everybody only if it is sticky, as /tmp. SMPL_EAGAIN: it was replaced meanwhile. */
int file_read_trusted(const char *path, size_t max, char **data, size_t *len, diag_t *diag);

/* Whether such a file could be kept in this folder: it and those above it, by the same rule. SMPL_ENOENT,
 * SMPL_EINVAL (no folder), SMPL_EDENIED, SMPL_ESYS. */
int file_check_folder(const char *path, diag_t *diag);

/* The same for a secret: refused (SMPL_EDENIED) unless it belongs to us or root and nobody else can read or
 * write it. The caller wipes it with explicit_bzero before free. */
int file_read_secret(const char *path, size_t max, char **data, size_t *len, diag_t *diag);

/* Joins the folder of `base` with `path` unless path is absolute. malloc'ed; NULL when out of memory. */
char *file_beside(const char *base, const char *path);
