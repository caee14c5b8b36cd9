/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an audit file: for its recovery at start, and for `history`. No thread, no state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "common/base/diag.h"

/* The event of a first record whose number is not 1: the file follows another, which was moved away. */
#define AUDIT_CONTINUED "audit-continued"
/* And of the sessions that are open at that time, after it. */
#define AUDIT_SESSION_CONTINUED "session-continued"

/* Records that had been written are missing: the file was cut, or written anew, while no bastion had it. */
#define AUDIT_LOST "audit-lost"

/* For reading; waits for nobody. SMPL_EINVAL: not a regular file. SMPL_ESYS. */
int audit_file_open(const char *path, int *fd, diag_t *diag);

/* line has no newline and a NUL after len. A negative return ends the reading and is handed on. */
typedef int (*audit_line_cb)(void *ctx, const char *line, size_t len, uint64_t number);

/* Calls cb for every whole line of fd, from its start. *whole is the offset after the last newline, *size the
 * end of the file. SMPL_ELIMIT: a line above AUDIT_LINE_MAX. */
int audit_file_read(int fd, audit_line_cb cb, void *ctx, uint64_t *whole, uint64_t *size);

typedef struct audit_tail {
  uint64_t seq;               /* of the last record, 0 in an empty file */
  char head[AUDIT_HASH_TEXT]; /* hash of the last line; of the empty string in an empty file */
  bool kept_found;            /* record kept_seq has the hash kept_head */
  uint64_t first;             /* number of the first record */
  uint64_t whole;             /* offset after the last whole record */
  uint64_t torn;              /* bytes of a record that was only partly written */
  char **open;                /* ids of sessions that have a start and no end, owned here */
  size_t open_count;
} audit_tail_t;

/* What a new writer has to know. diag names the line. */
int audit_file_tail(int fd, const char *path, uint64_t kept_seq, const char *kept_head, audit_tail_t *out,
                    diag_t *diag);
void audit_tail_free(audit_tail_t *tail);

/* SHA-256 of a line in hex. out of AUDIT_HASH_TEXT bytes. */
void audit_hash(const char *line, size_t len, char *out);
