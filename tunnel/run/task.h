/* SPDX-License-Identifier: Apache-2.0 */
/* What a tunnel is to do. */
#pragma once

#include "common/ssh/libssh.h"
#include "tunnel/local/forward.h"
#include "tunnel/session/destination.h"

/* The strings are borrowed. */
typedef struct task {
  destination_t to;
  forward_t forwards[FORWARDS_MAX];
  size_t forward_count;
  bool any_user;    /* local connections of other users are served too */
  bool stdio;       /* one connection over standard input and output; forwards[0] is its target */
  const char *open; /* the path to open in a browser; NULL: none */
  char **exec;      /* a program to run and its arguments, NULL at the end; NULL: none */
  bool read_ahead;  /* the session's socket is read in large pieces */
  libssh_conf_t libssh;
  const struct job *job; /* a question to the bastion instead of forwards; NULL: none */
  const char *target;    /* that it is about; NULL: none */
} task_t;
