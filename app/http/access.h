/* SPDX-License-Identifier: Apache-2.0 */
/* The access log: one JSON object a line for every request and every connection that was closed without one.
 * Lines are gathered and written once a turn of the loop. A reader that does not keep up with a pipe loses
 * lines, counted and reported, rather than stopping the service. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/limits.h"
#include "common/base/diag.h"
#include "common/base/ip.h"

typedef struct access_log access_log_t;

typedef struct access_line {
  const char *listener;
  const char *client;  /* whose the request is: "127.0.0.1:50190", or "203.0.113.7" if a balancer says so */
  const char *peer;    /* that balancer; NULL if there is none */
  const char *class;   /* admit_class; NULL for a connection closed without a request */
  const char *verdict; /* "admitted", "refused", "closed" */
  const char *reason;  /* admit_reason, or why the connection was closed */
  const char *detail;  /* more of the reason, in words; NULL for none */
  const char *rule;    /* the rule that matched, NULL if none */
  const uint8_t *head; /* as received, from its first byte: method and target are taken from the first line */
  size_t head_len;
  int status;         /* 0: no answer was sent */
  uint64_t bytes;     /* of the answer's body */
  uint64_t us;        /* from the end of the head to the answer; 0 if there was no whole head */
  const char *caller; /* whose internal key the request bore; NULL: nobody's */
  const char *id;     /* request id, NULL if the request got none */
} access_line_t;

/* Appends to the file at path (created with mode 0640), or writes to standard output if path is NULL. */
int access_open(const char *path, access_log_t **out, diag_t *diag);
/* Opens path again, for log rotation; the old file stays in use if that fails. */
int access_reopen(access_log_t *log, diag_t *diag);

/* A file that lines may go to from now on. */
typedef struct access_file {
  char *path; /* NULL: standard output */
  int fd;
} access_file_t;

/* Any thread. */
int access_file_open(const char *path, access_file_t *out, diag_t *diag);
/* One that was not used. */
void access_file_close(access_file_t *file);
/* Takes it over. */
void access_use(access_log_t *log, access_file_t *file);
void access_write(access_log_t *log, const access_line_t *line);
void access_flush(access_log_t *log);
/* Bytes lost since the log was written last; 0 while it is. */
uint64_t access_lost(const access_log_t *log);
/* Flushes; NULL allowed. */
void access_close(access_log_t *log);
